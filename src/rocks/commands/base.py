"""The base of every command. Method names are Rocks' own: other rolls' commands and plugins call them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn

from rocks.commands.arguments import bool2str, str2bool, yes_or_no
from rocks.commands.names import NameExpansion
from rocks.commands.output import write_out
from rocks.commands.tables import json_text, table_lines, without_common_owner
from rocks.errors import EXIT_SOME_HOSTS_FAILED, BugError, RocksError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rocks.commands.plugins import Plugin
    from rocks.database.connection import Database


class Command(NameExpansion):
    """A command: `run` reads its words, makes one call, and adds its output.

    `db` is the cluster database, connected at first use. `exit_status` is what `rocks` ends with when `run`
    returns; an error raised from `run` decides otherwise.
    """

    MustBeRoot = 1
    RefusesUnknownParameters = False
    """Whether a parameter that the docstring does not declare is an error; otherwise it is told and ignored."""

    def __init__(self, database: Database) -> None:
        self.db = database
        self.exit_status = 0
        self._text: list[str] = []
        self._rows: list[tuple[object, ...]] = []
        self._arguments: list[str] = []
        self._parameters: dict[str, str] = {}
        self._stream = False

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the command's name, from its place in the tree."""
        return tuple(type(self).__module__.split(".")[2:])

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Do what the command is for."""
        raise BugError(f'the command "{" ".join(self.words)}" has no run method; its author must add one')

    # words

    def useWords(self, parameters: dict[str, str], arguments: list[str], stream: bool = False) -> None:
        """Take the words of the command line; with `stream`, output may be shown before the end."""
        self._parameters, self._arguments, self._stream = parameters, arguments, stream

    def fillPositionalArgs(self, names: Sequence[str]) -> list[Any]:
        """`[remaining arguments, value, …]` for the named values, None for those that are missing.

        A value given as a non-empty parameter is taken from there; the others are taken from the end of the
        positional words, right to left, so that leading words may repeat.
        """
        remaining = list(self._arguments)
        values: list[str | None] = []
        for name in reversed(names):
            if self._parameters.get(name):
                values.append(self._parameters[name])
            else:
                values.append(remaining.pop() if remaining else None)
        return [remaining, *reversed(values)]

    def fillParams(self, names: Iterable[tuple[str, Any]]) -> list[Any]:
        """The values of the named parameters, or their defaults."""
        return [self._parameters.get(name, default) for name, default in names]

    def fillFlag(self, name: str, default: bool = False) -> bool:
        """A parameter that is yes or no; UserError for anything else."""
        return yes_or_no(name, self._parameters[name]) if name in self._parameters else default

    def str2bool(self, text: str | None) -> bool:
        """See `rocks.commands.arguments.str2bool`."""
        return str2bool(text)

    def bool2str(self, value: object) -> str:
        """See `rocks.commands.arguments.bool2str`."""
        return bool2str(value)

    def abort(self, message: str) -> NoReturn:
        """End the command with an error of the user's making; the first line goes to the system log."""
        raise UserError(message)

    # other commands and hooks

    def command(self, name: str, arguments: Sequence[str] = ()) -> str:
        """Run another command, `add.host`, in this one's transaction; returns what it would have printed.

        Raises the other command's error. UserError when it needs root and we are not.
        """
        from rocks.commands.run_command import run_nested

        return run_nested(self, name, arguments)

    def loadPlugins(self, part_of_name: str = "plugin_") -> list[Plugin]:
        """This command's plugins, in order; only those whose file name contains `part_of_name`."""
        from rocks.commands.plugins import load_plugins

        package = type(self).__module__
        folders = list(sys.modules[package].__path__)
        return [p for p in load_plugins(self, folders, package) if part_of_name in p.module_name]

    def runPlugins(self, *arguments: Any) -> None:
        """Call `run` of each plugin in order; every call is logged."""
        from rocks.commands.plugins import run_plugin

        for plugin in self.loadPlugins():
            run_plugin(plugin, self.words, *arguments)

    # output

    def addText(self, text: str) -> None:
        """Add raw text to the output."""
        self._text.append(text)

    def getText(self) -> str:
        """All output so far."""
        return "".join(self._text)

    def tell(self, line: str) -> None:
        """Show a line now, on standard error, to a person who waits; a nested command stays silent."""
        if self._stream:
            print(line, file=sys.stderr, flush=True)

    def showNow(self, text: str) -> None:
        """Print a part of the output at once, for a command whose results come one by one."""
        if self._stream:
            write_out(text)
        else:
            self.addText(text)

    @property
    def shows_progress(self) -> bool:
        """Whether a person at a terminal waits for this command."""
        return self._stream and sys.stderr is not None and sys.stderr.isatty()

    def showProgress(self, line: str) -> None:
        """Show a line that the next one replaces, to a person at a terminal; an empty one wipes it away."""
        if self.shows_progress:
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)

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
        """End the table and add it to the output, as the parameters json, output-col and output-header say.

        The owners' column is left out when all rows have the same owner, unless output-col asks for it.
        UserError for a column that the table has not.
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
        rows: Sequence[tuple[object, ...]] = [(f"{_cell(row[0])}:", *row[1:]) for row in self._rows]
        if trimOwner and not (columns and header and header[0].lower() in columns):
            header, rows = without_common_owner(header, rows)
        show_header = str2bool(self._parameters.get("output-header", "yes"))
        lines = table_lines(header, rows, columns, show_header, padChar)
        self.addText("".join(line + linesep for line in lines))

    def endOutcomes(self, failures: Mapping[str, RocksError], tried: int) -> None:
        """Report what failed, each on standard error, and set the exit status.

        None failed: 0; all failed: the status of the first; some: 3, done on some but not on all.
        """
        if not failures:
            return
        if len(failures) == tried == 1:
            raise next(iter(failures.values()))
        for name, error in failures.items():
            print(f"Error: {name}: {error}", file=sys.stderr)
        all_failed = len(failures) >= tried
        self.exit_status = next(iter(failures.values())).exit_status if all_failed else EXIT_SOME_HOSTS_FAILED

    def _columns(self, header: Sequence[str]) -> list[str] | None:
        wanted = self._parameters.get("output-col")
        if not wanted or not header:
            return None
        columns = [name.strip() for name in wanted.lower().split(",") if name.strip()]
        known = [name.lower() for name in header]
        for name in columns:
            if name not in known:
                raise UserError(f'output-col: there is no column "{name}", only {", ".join(known)}')
        return columns

    def _object_name(self, header: Sequence[str]) -> str:
        words = self.words
        same = header and words[-1] == header[0].lower() and len(words) > 1
        return words[-2] if same else words[-1]


def _cell(owner: object) -> str:
    return "" if owner is None else str(owner)
