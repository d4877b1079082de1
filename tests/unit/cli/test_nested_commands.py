"""A command that calls another one: its output, its error, its exit status."""

from tests.command_trees import TAKEN, WriteCommand
from tests.unit.cli.conftest import Rocks


def test_a_nested_command_takes_only_what_it_declares(rocks: Rocks, write_command: WriteCommand) -> None:
    write_command("inner", "pass")
    write_command("outer", "self.command('inner', ['colour=red'])")
    assert rocks("outer").error.splitlines()[0] == ('Error: "inner" knows no parameter "colour"; it knows a')


def test_a_nested_command_returns_its_output_and_prints_nothing(
    rocks: Rocks, write_command: WriteCommand
) -> None:
    write_command("inner", "self.notify('notice')\nself.showNow('shown')\nself.addText(f'{args}')")
    write_command("outer", "self.addText('<' + self.command('inner', ['a b', 'a=1']) + '>')")
    assert rocks("outer") == (0, "<shown['a b']>\n", "")


def test_a_nested_command_fails_the_outer_one(rocks: Rocks, write_command: WriteCommand) -> None:
    write_command("inner", "self.abort('not so')")
    write_command("outer", "self.addText('begun')\nself.command('inner')")
    assert rocks("outer") == (1, "begun\n", f"Error: not so\nrocks outer {TAKEN}\n")


def test_a_nested_command_hands_its_exit_status_up(rocks: Rocks, write_command: WriteCommand) -> None:
    write_command("inner", "self.exit_status = 3")
    write_command("outer", "self.command('inner')")
    assert rocks("outer").status == 3


def test_a_nested_command_that_is_not_there(rocks: Rocks, write_command: WriteCommand) -> None:
    write_command("group", "")
    write_command("outer", "self.command(*args)")
    assert 'the command "outer" calls "in.ner", which is not installed' in rocks("outer", "in.ner").error
    assert '"group" is a group of commands, not a command' in rocks("outer", "group").error
