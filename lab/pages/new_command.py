"""Creates the files of a new command: `python3 -m lab.pages.new_command WORDS…`, by `make new-command`."""

from __future__ import annotations

import sys
from keyword import iskeyword
from pathlib import Path
from typing import TYPE_CHECKING

from lab.pages.reference import write_reference
from rocks.commands._framework.tree import OUR_TREE, is_command_word
from rocks.core.errors import RocksError, UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

CHECKOUT = Path(OUR_TREE).parents[2]
_LONGEST_WORD = 30
VERBS_FOR_EVERYBODY = ("list", "report", "dump", "help")
"""Commands of these verbs do not require root."""

_COMMAND = '''"""`rocks {name}`"""

import rocks.commands


class Command(rocks.commands.Command):
    """
    Print a text for each host.

    <arg optional='1' type='string' name='host' repeat='1' default='none'>
    Hosts.
    </arg>
    <param type='string' name='text' default='none'>
    The text.
    </param>

    <example cmd='{name} compute-0-0 text=blue'>
    One host.
    </example>
    <example cmd='{name} compute-0-0 compute-0-1'>
    Two hosts.
    </example>

    <related>list host</related>
    """
{permission}
    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per host."""
        text = self.fillText("text", "none")
        self.beginOutput()
        for host in args:  # self.getHostnames(args) expands selectors to hosts of the database
            self.addOutput(host, text)
        self.endOutput(header=("host", "text"))
'''
_TEST = '''"""`rocks {name}`"""

from __future__ import annotations

import os

import pytest

from tests.unit.cli.conftest import Rocks, rocks

__all__ = ["rocks"]


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command is permitted."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def test_it_prints_one_row_per_host(rocks: Rocks) -> None:
    assert rocks({arguments}, "compute-0-0", "text=blue") == (0, "TEXT\\nblue\\n", "")
    assert rocks({arguments}, "h1", "h2").output == "HOST TEXT\\nh1:  none\\nh2:  none\\n"
'''


def create_command(command_path: Sequence[str], checkout: Path) -> list[Path]:
    """Write the command and its test below `checkout`, and the reference pages; returns the new files.

    UserError, and no file, for words that cannot be a command's name and for a command that exists.
    """
    _check_name(command_path)
    command = checkout.joinpath("src", "rocks", "commands", *command_path, "__init__.py")
    test = checkout / "tests" / "unit" / "commands" / f"test_{'_'.join(command_path)}.py"
    for path in (command, test):
        if path.exists():
            raise UserError(f'"{" ".join(command_path)}" exists: {path.relative_to(checkout)}')
    if command.parent.is_dir():
        raise UserError(
            f'"{" ".join(command_path)}" is a group of commands: {command.parent.relative_to(checkout)}'
        )
    name = " ".join(command_path)
    permission = "\n    MustBeRoot = 0\n" if command_path[0] in VERBS_FOR_EVERYBODY else ""
    for path in (command, test):
        path.parent.mkdir(parents=True, exist_ok=True)
    command.write_text(_COMMAND.format(name=name, permission=permission), encoding="utf-8")
    arguments = ", ".join(f'"{word}"' for word in command_path)
    test.write_text(_TEST.format(name=name, arguments=arguments), encoding="utf-8")
    return [command, test]


def main(command_path: Sequence[str]) -> int:
    """Create the command that the words name, which may be one text with blanks; returns the exit status."""
    command_path = " ".join(command_path).split()
    try:
        created = create_command(command_path, CHECKOUT)
    except RocksError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_status
    write_reference(CHECKOUT / "docs" / "reference")
    for path in created:
        print(path.relative_to(CHECKOUT))
    print(
        "docs/reference/commands.md has the command now; write it anew with make reference when its help changes"
    )
    return 0


def _check_name(command_path: Sequence[str]) -> None:
    if not command_path:
        raise UserError('name the command, as in make new-command WORDS="list host colour"')
    for word in command_path:
        if (
            len(word) > _LONGEST_WORD
            or not is_command_word(word)
            or not word.isascii()
            or word != word.lower()
            or iskeyword(word)
        ):
            raise UserError(
                f'"{word}" cannot be a word of a command: use at most {_LONGEST_WORD} lower-case letters, '
                "digits and _, beginning with a letter"
            )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
