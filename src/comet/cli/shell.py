"""`comet shell`: commands without the word `comet`, from a terminal or from a file."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from comet.cli.commands import COMMANDS
from comet.cli.context import Context, is_terminal, warn
from comet.client.errors import AuthenticationError

if TYPE_CHECKING:
    from comet.client.configuration import Endpoint


def shell(context: Context) -> int:
    """Each line is a command; `exit`, `quit` or the end of input ends. The exit status is the last failure's.

    From a file it stops at the first command that fails, like a shell's `set -e`. A password is asked for once, and
    again after a line whose credentials were not taken.
    """
    from comet.cli.main import run

    interactive = is_terminal()
    status = 0
    passwords: dict[Endpoint, str] = {}
    for line in _lines(interactive):
        try:
            typed = shlex.split(line, comments=True)
        except ValueError as error:
            warn(f"{line.strip()}: {error}")
            typed, status = [], 2
        if typed[:1] in (["exit"], ["quit"], ["q"]):
            return status
        if typed[:1] == ["shell"]:
            warn("this is the shell")
        elif typed:
            try:
                ended = run(typed, passwords)
                if ended == AuthenticationError.exit_status:
                    passwords.clear()
                status = ended or (0 if not interactive else status)
            except KeyboardInterrupt as interrupt:
                warn(str(interrupt) or "interrupted")
                status = 130
        if status and not interactive:
            return status
    return status


def _lines(interactive: bool) -> Iterator[str]:
    if not interactive:
        yield from sys.stdin
        return
    with contextlib.suppress(ImportError):
        import readline

        firsts = sorted({command.path[0] for command in COMMANDS})

        def completer(text: str, index: int) -> str | None:
            found = [it + " " for it in firsts if it.startswith(text)]
            return found[index] if index < len(found) else None

        readline.set_completer(completer)
        readline.parse_and_bind("tab: complete")
    while True:
        try:
            yield input("comet> ")
        except EOFError:
            print(file=sys.stderr)
            return
        except KeyboardInterrupt:
            print(file=sys.stderr)
