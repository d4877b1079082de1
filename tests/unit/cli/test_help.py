"""`rocks help`: one command, a topic, the commands of every day."""

from rocks.cli.manual import command_page
from rocks.commands._framework.topics import DAILY, TOPICS
from rocks.commands._framework.tree import OUR_TREE, all_commands
from tests.unit.cli.conftest import Rocks


def test_the_whole_help_of_a_command(rocks: Rocks) -> None:
    assert rocks("help", "start", "host", "vm") == rocks("start", "host", "vm", "help")
    status, output, _ = rocks("help", "list host")
    assert status == 0
    assert output.startswith(rocks("list", "host", "help").output)
    assert "\tlist host vm [host] ..." in output


def test_help_without_a_match(rocks: Rocks) -> None:
    assert rocks("help", "zzz").error.startswith('Error: no command has "zzz" in its usage, and no topic')
    assert rocks("help", "zzz").status == 1
    assert "did you mean list host?" in rocks("help", "lst", "hots").error


def test_help_about_a_topic(rocks: Rocks) -> None:
    every = rocks("help", "all").output.splitlines()
    about = {topic: rocks("help", topic).output.splitlines() for topic in TOPICS}
    for topic, starts in TOPICS.items():
        for start in starts:
            assert any(f"{line} ".startswith(f"{start} ") for line in about[topic]), (topic, start)
        assert set(about[topic]) <= set(every)
    assert all(line.startswith("remove ") for line in about["delete"])
    assert [line.split()[0] for line in rocks("help", "run").output.splitlines()[:4]] == ["run"] * 4
    assert "did you mean: rocks remove host vm?" in rocks("delete", "host", "vm", "x").error
    assert "did you mean: rocks list host?" in rocks("list", "hosts").error


def test_help_alone_lists_the_commands_of_every_day(rocks: Rocks) -> None:
    output = rocks("help").output
    commands = {name for names in DAILY.values() for name in names}
    assert 25 <= len(commands) <= 35
    assert all(f"\n  {name} " in output for name in commands)
    assert commands <= {" ".join(path) for path in all_commands([OUR_TREE])}


def test_manual_pages_are_found_by_topic() -> None:
    assert "encrypted file" in command_page(("save", "site")) and "(backup)" in command_page(("save", "site"))
