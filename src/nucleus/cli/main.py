"""`nucleus COMMAND …`: finds the module of the command, reads the settings, and prints errors as sentences."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from nucleus.configuration import read_configuration
from nucleus.parts import Command, installed
from rocks.core.errors import RocksError, interrupt_of
from rocks.core.near_names import nearest
from rocks.core.terminal import many_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EXIT_INTERRUPTED = 130

_COMMANDS = {
    "audit": "print the record of what was done, and check it",
    "history": "print the size of each table, its oldest row, and how long rows stay",
    "serve": "answer owners, poll the site, do what is asked for; until SIGTERM",
    "executor": "run the commands of rocks that the service may use (root)",
    "poll": "poll the site once, and print how its commands went",
    "setup": "make the database's schema, or bring it to the version of these programs (root)",
    "status": "print how old what is known is, and what needs an operator",
}
"""The command, and its line of help."""

_MODULES = {
    "audit": "history",
    **dict.fromkeys(("setup", "poll", "status"), "health"),
}
"""Command → its module in `nucleus.cli`; of others it has the command's name."""


def commands() -> dict[str, Command]:
    """Command → its line of help and its module, by name: those of the parts, too."""
    found = {
        name: Command(line, f"nucleus.cli.{_MODULES.get(name, name)}") for name, line in _COMMANDS.items()
    }
    for part in installed().values():
        found |= part.commands
    return dict(sorted(found.items()))


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments say; returns the exit status: 0, 1 refused or failed, 2 wrong usage."""
    try:
        known = commands()
        parser = _parser(arguments, known)
        for one in arguments:
            try:
                one.encode()
            except UnicodeEncodeError:
                parser.error(f"{ascii(one)} is not UTF-8 text")
        parsed = parser.parse_args(arguments)
        module = importlib.import_module(known[parsed.command].module)
        status: int = module.run(parsed, read_configuration(parsed.file))
        return status
    except (RocksError, KeyboardInterrupt) as error:
        if interrupt_of(error) is not None:
            return EXIT_INTERRUPTED
        print(f"nucleus: {many_lines(str(error))}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


class _Parser(argparse.ArgumentParser):
    """Names the word that a misspelled one resembles, and refuses what is too much with the usage of its command."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, more = super().parse_known_args(args, namespace)
        if more:  # the parser of the program would print its own usage
            self.error(f"unrecognized arguments: {' '.join(more)}")
        return found, more

    def error(self, message: str) -> NoReturn:
        found = re.search(r"argument (.+): invalid choice: '([^']*)' \(choose from (.*)\)", message)
        known = re.findall(r"[\w:-]+", found[3]) if found else []
        if found and found[1].startswith("-"):
            message = f"{found[1]} cannot be {found[2]}; it is one of {', '.join(known)}"
        elif found:
            near = nearest(found[2], known)
            message = f"there is no {self.prog} {found[2]}"
            message += f"; did you mean {self.prog} {near[0]}?" if near else f"; see {self.prog} --help"
        super().error(message)


def _parser(arguments: Sequence[str], known: Mapping[str, Command]) -> argparse.ArgumentParser:
    parser = _Parser(prog="nucleus", description="The service of virtual clusters.")
    parser.add_argument(
        "--file", type=Path, help="the settings; without it /etc/rocks/nucleus.toml, if it exists"
    )
    below = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command, (line, module) in known.items():
        one = below.add_parser(command, help=line, description=f"{line[0].upper()}{line[1:]}.")
        if command in arguments:  # the modules of the others need not be loaded
            importlib.import_module(module).add_arguments(one)
    return parser
