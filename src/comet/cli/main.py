"""The program: parse, run, turn every outcome into a line and an exit status."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn, Optional

if TYPE_CHECKING:
    from comet.client.configuration import Endpoint


_OF_CLOUDS = ("default", "cloud", "vm", "flavor", "key", "secgroup", "hpc")
"""First words that `cm` has and `comet` has not."""


def program() -> NoReturn:
    """`comet`."""
    line = sys.argv[1:]
    try:
        _prepare_streams()
        if line[:1] == ["--complete"]:
            from comet.cli.completion import complete

            status = complete(line[1:])
        else:
            status = run(line)
        sys.stdout.flush()
    except KeyboardInterrupt as interrupt:
        sys.stderr.write(f"{str(interrupt) or 'interrupted'}\n")
        status = 130
    except BrokenPipeError:
        # the reader has enough (`comet ll | head -1`); nothing more is written, also not at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = 141
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        what = "the output cannot be written" if error.filename is None else f"cannot use {error.filename!r}"
        sys.stderr.write(f"{what}: {error.strerror or error}\n")
        status = 1
    sys.exit(status)


def _prepare_streams() -> None:
    """Have standard input and output take any text, whatever letters the terminal has.

    One that is closed is /dev/null: its number would be given to the connection, and messages be written to that.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) < 3:
        pass
    os.close(number)
    for number, name, errors in ((0, "stdin", "surrogateescape"), (1, "stdout", "backslashreplace")):
        stream = getattr(sys, name)
        if stream is None:
            stream = os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False)
            setattr(sys, name, stream)
        stream.reconfigure(errors=errors)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


def run(line: list[str], passwords: Optional[dict[Endpoint, str]] = None) -> int:
    """One command; its exit status. `passwords`: those of `Context`."""
    import importlib

    typed = line[1:] if line[:1] == ["help"] else line
    is_of_clouds = typed[:1] != [] and typed[0] in _OF_CLOUDS or typed[:2] == ["image", "list"]
    if is_of_clouds and sys.argv[0].rpartition("/")[2] == "cm":
        return int(importlib.import_module("comet.clouds.program").run(line))

    from comet.cli.context import Context, warn
    from comet.cli.output import show
    from comet.cli.parser import INTRODUCTION, commands_about, is_command, normalised, parsed
    from comet.client.errors import CometError

    try:
        typed = normalised(line)
        if not typed:
            show(INTRODUCTION)
            return 0
        if typed[:1] == ["help"] and not is_command(typed[1:]):
            show(commands_about(typed[1:]))
            return 0
        if typed[:1] == ["help"]:
            typed = [*typed[1:], "--help"]
        arguments = parsed(typed)
    except CometError as error:
        warn(str(error))
        return error.exit_status
    except SystemExit as end:  # --help, --version
        return int(end.code or 0)
    module, _, function = arguments.handler.partition(":")
    context = Context(arguments, passwords)
    try:
        status = getattr(importlib.import_module(f"comet.cli.{module}"), function)(context)
    except CometError as error:
        warn(str(error))
        status = error.exit_status
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and not error.args and context.goes_on:
            error.args = ("interrupted; what the server has accepted goes on: comet operation list",)
        context.close()
        raise
    old = context.close()
    return status or old or 0
