"""`rocks help`, rocks(8) and the reference pages: every command is in them."""

import re
import shutil
from pathlib import Path

import pytest

from lab.pages import manual
from lab.pages.manual import command_page
from lab.pages.reference import pages, write_reference
from nucleus.cli.main import commands as nucleus_commands
from rocks.commands._framework.command_index import FILE, index_text
from rocks.commands._framework.topics import DAILY, OF_NUCLEUS, TOPICS
from rocks.commands._framework.tree import OUR_TREE, all_commands, load_package
from rocks.core.process import run_checked
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


def test_help_about_what_only_nucleus_has(rocks: Rocks) -> None:
    assert rocks("help", "project") == (0, "of Nucleus, the service for owners: nucleus project --help\n", "")
    lines = rocks("help", "users").output.splitlines()
    assert lines[0].startswith("sync users ") and lines[-1].endswith(": nucleus user --help")
    for word in ("cost", "charges"):
        assert rocks("help", word).output == "of Nucleus, the service for owners: nucleus usage --help\n"
    known, ours = nucleus_commands(), {path[-1] for path in all_commands([OUR_TREE])}
    assert set(OF_NUCLEUS.values()) <= set(known) and not ours & set(OF_NUCLEUS)


@pytest.mark.slow
def test_help_about_a_topic(rocks: Rocks) -> None:
    every = rocks("help", "all").output.splitlines()
    about = {topic: rocks("help", topic).output.splitlines() for topic in TOPICS}
    for topic, starts in TOPICS.items():
        for start in starts:
            assert any(f"{line} ".startswith(f"{start} ") for line in about[topic]), (topic, start)
        assert set(about[topic]) <= set(every)
    assert all(line.startswith("remove ") for line in about["delete"])
    assert [line.split()[0] for line in rocks("help", "run").output.splitlines()[:4]] == ["run"] * 4
    assert not any(line.startswith("remove ") for line in rocks("help", "move").output.splitlines())
    for text, command in (
        ("grow disk", "set host vm disk"),
        ("change memory", "set host vm"),
        ("backups", "save site"),
        ("shut down", "stop host vm"),
        ("account", "sync users"),
        ("rename host", "set host name"),
        ("undo", "restore host vm snapshot"),
    ):
        assert f"\n{command} " in f"\n{rocks('help', *text.split()).output}", text
    assert "did you mean: rocks remove host vm?" in rocks("delete", "host", "vm", "x").error
    assert "did you mean: rocks list host?" in rocks("list", "hosts").error
    assert (
        "did you mean: rocks stop host vm, rocks stop cluster, " in rocks("reboot", "host", "vm", "x").error
    )


def test_help_alone_lists_the_commands_of_every_day(rocks: Rocks) -> None:
    output = rocks("help").output
    commands = {name for names in DAILY.values() for name in names}
    assert 25 <= len(commands) <= 35
    assert all(f"\n  {name} " in output for name in commands)
    assert commands <= {" ".join(path) for path in all_commands([OUR_TREE])}


def test_manual_pages_are_found_by_topic() -> None:
    assert "encrypted file" in command_page(("save", "site")) and "(backup)" in command_page(("save", "site"))


_REQUESTS = {".TH", ".SH", ".SS", ".PP", ".TP", ".IP", ".B", ".BR", ".br", ".I", ".IR", ".EX", ".EE"}


def test_every_command_has_a_section() -> None:
    """With its name, in the order of the tree."""
    trees = [OUR_TREE]
    commands = [path for path in all_commands(trees) if hasattr(load_package(path, trees), "Command")]
    sections = re.findall(r"^\.SS (.+)$", manual.page(), re.MULTILINE)
    assert [text.replace("\\-", "-") for text in sections] == [" ".join(path) for path in commands]


def test_only_our_requests() -> None:
    """A line of text that begins with a dot or an apostrophe would vanish."""
    lines = manual.page().splitlines()
    assert {line.split()[0] for line in lines if line.startswith((".", "'"))} <= _REQUESTS


def test_every_command_has_a_page() -> None:
    """With the name by which man finds it, what it does, and pages that exist."""
    pages = manual.pages()
    trees = [OUR_TREE]
    for path in all_commands(trees):
        if hasattr(load_package(path, trees), "Command"):
            text = pages[f"rocks-{'-'.join(path)}.8"].replace("\\-", "-")
            assert re.search(rf"^rocks-{'-'.join(path)} - \S.*[^.]$", text, re.MULTILINE)
            assert {line.split()[0] for line in text.splitlines() if line.startswith((".", "'"))} <= _REQUESTS
            assert {f"{name}.8" for name in re.findall(r"^\.BR (rocks\S*) \(8\)", text, re.MULTILINE)} <= set(
                pages
            )


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_pages_of_commands_are_formatted_without_a_warning(tmp_path: Path) -> None:
    """Every twentieth; the page of all commands, which has the same text, is formatted above."""
    pages = manual.pages()
    names = sorted(pages)[::20]
    assert len(names) > 10
    for name in names:
        (tmp_path / name).write_text(pages[name], "utf-8")
    files = [str(tmp_path / name) for name in names]
    ended = run_checked(["groff", "-k", "-man", "-Tutf8", "-ww", "-z", *files], deadline_seconds=120)
    assert (ended.text, ended.error_text) == ("", "")


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
def test_man_prints_it(tmp_path: Path) -> None:
    """Without a warning; what one copies from it is what one types."""
    page = tmp_path / "rocks.8"
    page.write_text(manual.page(), "utf-8")
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "200"}
    printed = run_checked(
        ["man", "--warnings", "-l", str(page)], deadline_seconds=60, environment=environment
    )
    assert printed.error_text == ""
    text = re.sub(r".\x08", "", printed.text)
    assert "# rocks add cluster 203.0.113.9 2 fe-name=blue" in text


FOLDER = Path(__file__).parents[3] / "docs" / "reference"


@pytest.mark.parametrize("name", pages())
def test_the_page_in_the_repository_is_the_newest(name: str) -> None:
    """Otherwise run `make reference`."""
    assert (FOLDER / name).read_text() == pages()[name]


def test_the_index_of_commands_is_the_newest() -> None:
    """Otherwise run `make reference`."""
    assert Path(FILE).read_text() == index_text()


def test_the_page_of_commands_has_every_part() -> None:
    page = pages()["commands.md"]
    assert "### list host attr\n\n    rocks list host attr [host] ...\n" in page
    assert "\n    # rocks set attr managed false\n" in page
    assert "[set attr](#set-attr)" in page


def test_pages_are_written(tmp_path: Path) -> None:
    write_reference(tmp_path / "reference")
    assert {path.name: path.read_text() for path in (tmp_path / "reference").iterdir()} == pages()


def test_a_word_that_resembles_none_gets_no_proposal(rocks: Rocks) -> None:
    """`zones` has most of its letters in `nonsense`, but not the other way round."""
    status, _, error = rocks("nonsense")
    assert status == 255 and "did you mean" not in error
