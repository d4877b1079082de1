"""The base of every command. Names such as fillParams and addOutput are Rocks' own: other rolls use them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn

from rocks.commands._framework.arguments import ArgumentValues, str2bool
from rocks.commands._framework.name_expansion import NameExpansion
from rocks.commands._framework.output import (
    TerminalText,
    terminal_columns,
    wants_colour,
    write_message,
    write_out,
)
from rocks.commands._framework.tables import (
    error_fields,
    json_text,
    long_table_parts,
    table_parts,
    without_common_owner,
)
from rocks.core.errors import EXIT_SOME_HOSTS_FAILED, BugError, RocksError, UserError
from rocks.core.names import printable
from rocks.core.terminal import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rocks.commands._framework.plugins import Plugin
    from rocks.database.connection import Database
    from rocks.trust.audit import AuditRecord


class Command(ArgumentValues, NameExpansion):
    """A command: `run` reads its arguments, makes one call, and adds its output.

    `db` is the cluster database, connected at first use. `exit_status` is the exit status of `rocks` when `run`
    returns; an error raised by `run` overrides it.
    """

    MustBeRoot = 1
    TakesAnyParameter = False
    """Whether parameters may have names that the docstring does not declare, which is otherwise an error."""
    IsAudited: bool | None = None
    """Whether the audit log has its calls; None: unless its first word is that of a command which only reads."""
    NoDryRun = ""
    """Why the command takes no `dry-run=yes`, after "cannot be tried: "; for one that reaches hosts."""
    HandlesDryRun = False
    """Whether `run` itself reads the parameter dry-run, instead of the framework."""
    NeedsOwnProcess = False
    """Whether the command becomes another program, which `rocks shell` could not survive."""
    AdviceForTooMany = "quote a value that contains blanks"
    AdviceAfterInterrupt = ""
    """What shows, after Ctrl-C, what the command had begun: an end of the message about the interrupt."""
    DoneByCommit = ""
    """What is true after the commit of a command that contacts no host, for it; before that, nothing was changed."""

    run_line: Callable[[Sequence[str]], int] | None = None
    """Runs another command line, in a transaction of its own but on this command's connection; returns its exit status.

    None for a command that another one runs.
    """

    def __init__(self, database: Database) -> None:
        self.db = database
        self.exit_status = 0
        self.failures: Mapping[str, RocksError] = {}
        """Host or machine → its error, as `endOutcomes` got them."""
        self.audit_record: AuditRecord | None = None
        self.is_dry = False
        """Whether this is a dry run (`rocks.core.dry_run`), which the framework alone has to know."""
        self._text: list[str] = []
        self._rows: list[tuple[object, ...]] = []
        self._arguments: list[str] = []
        self._parameters: dict[str, str] = {}
        self._stream = False
        self.notes: list[str] = []
        self._has_output = False

    @property
    def command_path(self) -> tuple[str, ...]:
        """The words of the command's name, from its folder in the tree."""
        return tuple(type(self).__module__.split(".")[2:])

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Execute the command; `params` are its parameters by name, `args` its arguments in order."""
        raise BugError(
            f'the command "{" ".join(self.command_path)}" has no run method; its author must add one'
        )

    def repeatedByName(self) -> Sequence[str]:
        """Names of the repeated arguments whose last value may be given as a parameter."""
        return ()

    def useArguments(self, parameters: dict[str, str], arguments: list[str], stream: bool = False) -> None:
        """Take the arguments and parameters of the command line; with `stream`, output is printed as it comes."""
        self._parameters, self._arguments, self._stream = parameters, arguments, stream

    def abort(self, message: str) -> NoReturn:
        """End the command with UserError; its first line goes to the system log."""
        raise UserError(message)

    # other commands and hooks

    def command(self, name: str, arguments: Sequence[str] = ()) -> str:
        """Run another command, `add.host`, in the same transaction; returns its output.

        Raises the other command's error. UserError when it needs root and this process is not root.
        """
        from rocks.commands._framework.run_command import run_nested

        return run_nested(self, name, arguments)

    def builtinPlugins(self) -> Sequence[Plugin]:
        """Plugins of the command's own that need no file; files of any tree are ordered among them."""
        return ()

    def loadPlugins(self, part_of_name: str = "plugin_") -> list[Plugin]:
        """This command's plugins, in order; only those whose module name contains `part_of_name`."""
        from rocks.commands._framework.plugins import load_plugins

        package = type(self).__module__
        folders = list(sys.modules[package].__path__)
        return [
            p
            for p in load_plugins(self, folders, package, self.builtinPlugins())
            if part_of_name in p.module_name
        ]

    def runPlugins(self, arguments: Any = "") -> None:
        """Call `run(arguments)` of each plugin in order; every call is logged."""
        from rocks.commands._framework.plugins import run_plugin

        for plugin in self.loadPlugins():
            run_plugin(plugin, self.command_path, arguments)

    # output

    def addText(self, text: str) -> None:
        """Add raw text to the output."""
        self._text.append(text)

    def addLine(self, line: str) -> None:
        """Add one line to the output; whatever the text contains, it stays one line."""
        self._text.append(one_line(line) + "\n")

    def getText(self) -> str:
        """All output so far."""
        return "".join(self._text)

    def takeOutput(self) -> list[str]:
        """All output since the last call: on a terminal, tables are `output.TerminalText`."""
        pieces, self._text = self._text, []
        return pieces

    def notify(self, line: str) -> None:
        """Print a line on standard error at once; a nested command adds it to the `notes` of the one that calls it."""
        if self._stream:
            write_message(line)
        else:
            self.notes.append(line)

    def showLine(self, line: str) -> None:
        """As `showNow`, for one line; whatever the text contains, it stays one line."""
        self.showNow(one_line(line) + "\n")

    def showNow(self, text: str) -> None:
        """Print a part of the output at once, for a command whose results arrive one by one."""
        self._has_output = True
        if self._stream:
            write_out(text)
        else:
            self.addText(text)

    @property
    def shows_progress(self) -> bool:
        """Whether standard error is a terminal, and this command is not nested."""
        return self._stream and sys.stderr is not None and sys.stderr.isatty()

    @property
    def asks(self) -> bool:
        """Whether a person can answer: standard input and error are a terminal, and this command is not nested."""
        return self.shows_progress and sys.stdin is not None and sys.stdin.isatty()

    def showProgress(self, line: str) -> None:
        """Print a line on a terminal that the next call replaces; an empty line erases it."""
        if self.shows_progress:
            print(f"\r\033[K{one_line(line)}", end="", file=sys.stderr, flush=True)

    def beginOutput(self) -> None:
        """Start a table."""
        self._rows = []

    def addOutput(self, owner: object, row: object) -> None:
        """Add a row; a scalar is a row of one cell."""
        cells = tuple(row) if isinstance(row, list | tuple) else (row,)
        self._rows.append((owner, *cells))

    def endOutput(
        self,
        header: Sequence[str] | None = None,
        padChar: str = "-",
        trimOwner: bool | int = True,
        linesep: str = "\n",
    ) -> None:
        """End the table and add it to the output, formatted by the parameters json, output-col and output-header.

        The owner column is dropped when all rows have the same owner, unless output-col names it. UserError for a
        column that the table does not have.
        """
        header = header or ()
        columns = self._columns(header)
        if str2bool(self._parameters.get("json")):
            self.addText(
                json_text(header or ("owner", "text"), self._rows, self._object_name(header), columns)
            )
            return
        if not self._rows:
            return
        rows: Sequence[tuple[object, ...]] = self._take_rows()
        if trimOwner and not (columns and header and header[0].lower() in columns):
            header, rows = without_common_owner(header, rows)
        show_header = str2bool(self._parameters.get("output-header", "yes"))
        if header and padChar and self._stream and sys.stdout is not None and sys.stdout.isatty():
            from rocks.commands._framework.terminal_tables import terminal_lines

            width, with_colour = terminal_columns(), wants_colour(sys.stdout)
            found = terminal_lines(header, rows, columns, show_header, padChar, width, with_colour)
            self._text.append(TerminalText("".join(line + linesep for line in found)))
            return
        for lines in table_parts(header, rows, columns, show_header, padChar):
            self.addText("".join(line + linesep for line in lines))

    def addTable(
        self,
        header: Sequence[str],
        rows: Iterable[Sequence[object]],
        padChar: str = "-",
        trimOwner: bool = True,
    ) -> None:
        """Add a table of rows that begin with their owners; the rest as of `endOutput`."""
        self.beginOutput()
        for owner, *cells in rows:
            self.addOutput(owner, cells)
        self.endOutput(header, padChar, trimOwner)

    def showRows(
        self, header: Sequence[str], each_row: Callable[[], Iterable[tuple[str, ...]]], padChar: str = "-"
    ) -> None:
        """Print a table of so many rows of texts that they are not kept; `each_row` makes them, their owners first.

        It is called twice where columns are padded. As JSON, on a terminal and in a nested command the table is that
        of `endOutput`, and is kept.
        """
        is_plain = self._stream and not (sys.stdout is not None and sys.stdout.isatty())
        if not is_plain or str2bool(self._parameters.get("json")):
            self.beginOutput()
            for owner, *row in each_row():
                self.addOutput(owner, row)
            self.endOutput(header=header, padChar=padChar, trimOwner=False)
            return
        columns, show_header = self._columns(header), str2bool(self._parameters.get("output-header", "yes"))
        for lines in long_table_parts(header, each_row, columns, show_header, padChar):
            self.showNow("".join(line + "\n" for line in lines))

    def _take_rows(self) -> list[tuple[object, ...]]:
        """The rows with their owners as a table has them, one at a time: a site has a million attributes."""
        rows, self._rows = self._rows, []
        owners: dict[object, str] = {}
        for number, row in enumerate(rows):
            owner = owners.setdefault(row[0], f"{'' if row[0] is None else row[0]}:")
            rows[number] = (owner, *row[1:])
        return rows

    def endOutcomes(self, failures: Mapping[str, RocksError], tried: int) -> None:
        """Print each failure on standard error and set the exit status.

        None failed: 0; all failed: the status of the first failure; some failed: 3. In a dry run, what depends on a
        change that was not made has not failed.
        """
        if self.is_dry:
            from rocks.commands._framework.dry_run import show_unknown

            failures = show_unknown(failures)
        self.failures = failures
        if not failures:
            return
        if len(failures) == tried == 1:
            raise next(iter(failures.values()))
        for name, error in failures.items():
            begins_so = str(error).startswith((f"{name} ", f"{name}:"))
            write_message(str(error), "Error: " if begins_so else f"Error: {name}: ")
        all_failed = len(failures) >= tried
        self.exit_status = next(iter(failures.values())).exit_status if all_failed else EXIT_SOME_HOSTS_FAILED

    def errorText(self, error: RocksError) -> str:
        """With json=yes, `[{"error": …}]` for an error that ends a command without output; else ''."""
        if self._has_output or not str2bool(self._parameters.get("json")):
            return ""
        import json

        return json.dumps([{"error": error_fields(error)}], indent=4) + "\n"

    def _columns(self, header: Sequence[str]) -> list[str] | None:
        selected = self._parameters.get("output-col")
        if not selected or not header:
            return None
        columns = [name.strip() for name in selected.lower().split(",") if name.strip()]
        known = [name.lower() for name in header]
        for name in columns:
            if name not in known:
                raise UserError(
                    f'output-col: there is no column "{printable(name)}", only {", ".join(known)}'
                )
        return columns

    def _object_name(self, header: Sequence[str]) -> str:
        command_path = self.command_path
        same = header and command_path[-1] == header[0].lower() and len(command_path) > 1
        return command_path[-2] if same else command_path[-1]
