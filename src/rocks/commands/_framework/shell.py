"""`rocks shell`: reads command lines from a terminal or from a file, and runs each."""

from __future__ import annotations

import shlex
import sys
from functools import partial
from typing import TYPE_CHECKING

from rocks.commands._framework.output import write_message, write_out
from rocks.commands._framework.tree import tree_folders
from rocks.core.errors import RocksError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rocks.database.connection import Database

    RunLine = Callable[[Sequence[str]], int]
    """Runs a command line, prints its error, and returns its exit status."""

PROMPT = "rocks> "
_ENDS = frozenset(("exit", "quit"))
_MAX_BYTES = 1 << 24
_SEPARATORS = " \t\n"
"""What separates words for readline; not `=`, so that it completes a parameter together with its value."""


def run_shell(run_line: RunLine, database: Database, stops: bool) -> int:
    """Run the lines of standard input; returns the first exit status that is not 0, on a terminal 0.

    With `stops`, a line that fails is the last. UserError for input that is no text.
    """
    if sys.stdin is None:
        raise UserError(
            "standard input is closed; type lines on a terminal, or give a file: rocks shell < FILE"
        )
    if sys.stdin.isatty() and sys.stdout is not None and sys.stdout.isatty():
        _prepare_readline(database)
        _talk(run_line, stops)
        return 0
    first_failure = 0
    for number, line in enumerate(_read_input().splitlines(), start=1):
        texts = _split(line)
        if texts and texts[0] in _ENDS:
            break
        status = _run(texts, run_line)
        if status:
            write_message(f"line {number} ended with exit status {status}")
            first_failure = first_failure or status
            if stops:
                break
    return first_failure


def split_line(line: str) -> list[str]:
    """The arguments in a line, without a leading `rocks`; none for a comment. UserError for an open quotation."""
    if line.lstrip().startswith("#"):
        return []
    try:
        texts = shlex.split(line)
    except ValueError as error:
        raise UserError(
            f"cannot split the line: {str(error).lower()}; close it, or write \\' for a quote"
        ) from None
    return texts[1:] if texts[:1] == ["rocks"] else texts


def _split(line: str) -> list[str] | None:
    """As `split_line`; None, with a message, for a line that cannot be split."""
    try:
        return split_line(line)
    except UserError as error:
        write_message(str(error), "Error: ")
        return None


def _run(texts: Sequence[str] | None, run_line: RunLine) -> int:
    """The exit status of a line; 0 for an empty one, 1 for one that cannot be split."""
    if texts is None:
        return 1
    try:
        return run_line(texts) if texts else 0
    except SystemExit as end:  # a command of another roll that ends its process
        return end.code if isinstance(end.code, int) else int(end.code is not None)


def _talk(run_line: RunLine, stops: bool) -> None:
    """Run the lines that a person types, until the end of the input, `exit`, or a failure with `stops`."""
    for texts in _typed_lines():
        try:
            status = _run(texts, run_line)
        except KeyboardInterrupt:
            status = 1  # a second Ctrl-C, while the first one was reported
        if status and stops:
            return


def _typed_lines() -> Iterator[list[str] | None]:
    """The texts of each line that is typed."""
    while True:
        try:
            line = input(PROMPT)
        except EOFError:
            write_out("\n")
            return
        except KeyboardInterrupt:
            write_out("\n")
            continue
        except UnicodeDecodeError:
            write_message("the line is not UTF-8 text", "Error: ")
            continue
        texts = _split(line)
        if texts and texts[0] in _ENDS:
            return
        yield texts


def _read_input() -> str:
    """All of standard input: programs that commands start must not read what remains of it."""
    content = sys.stdin.buffer.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise UserError(f"the input is larger than {_MAX_BYTES >> 20} MiB; split the file")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"line {number} of the input is not UTF-8 text; nothing was run") from None


def _prepare_readline(database: Database) -> None:
    """Completion, where Python has readline, which shows earlier lines, too; without it, lines are only read."""
    try:
        import readline
    except ImportError:
        return
    readline.set_completer_delims(_SEPARATORS)
    readline.set_completer(partial(_complete, database, []))
    readline.parse_and_bind("tab: complete")


def _complete(database: Database, found: list[str], text: str, number: int) -> str | None:
    """The completion of that number for the text at the cursor; None after the last one. Readline's protocol."""
    import readline

    if number == 0:
        found[:] = texts_that_may_follow(database, readline.get_line_buffer()[: readline.get_begidx()], text)
    return found[number] if number < len(found) else None


def texts_that_may_follow(database: Database, line: str, text: str) -> list[str]:
    """What may stand in place of `text` behind `line`, with a blank where the word is complete; none between quotes."""
    from rocks.commands._framework.completion import completions
    from rocks.site.completion import names_that_begin

    try:
        offered = completions(split_line(line), text, tree_folders())
    except RocksError:
        return []  # between quotes
    try:
        names = offered.all(lambda kind, beginning: names_that_begin(database, kind, beginning))
        database.end_reading()
    except RocksError:
        names = offered.texts  # the database does not answer
    return [name if name.endswith(("=", "/")) else f"{name} " for name in names]
