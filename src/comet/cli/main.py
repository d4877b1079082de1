"""The program: parse, run, turn every outcome into a line and an exit status."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn, Optional

if TYPE_CHECKING:
    from comet.client.configuration import Endpoint


def program() -> NoReturn:
    """`comet`."""
    line = sys.argv[1:]
    try:
        if line[:1] == ["--complete"]:
            from comet.cli.completion import complete

            status = complete(line[1:])
        else:
            status = run(line)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; what the server has accepted goes on: comet operation list\n")
        status = 130
    except BrokenPipeError:
        # the reader has enough (`comet ll | head -1`); nothing more is written, also not at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = 141
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stderr.write(f"the output cannot be written: {error.strerror or error}\n")
        status = 1
    sys.exit(status)


def run(line: list[str], passwords: Optional[dict[Endpoint, str]] = None) -> int:
    """One command; its exit status (specification §9.5). `passwords`: those of `Context`."""
    import importlib

    from comet.cli.context import Context, warn
    from comet.cli.output import show
    from comet.cli.parser import commands_about, is_command, normalised, parsed
    from comet.client.errors import CometError

    try:
        typed = normalised(line)
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
    except BaseException:
        context.close()
        raise
    old = context.close()
    return status or old or 0
