"""rocks(8): every command is in it, and no text of a command is taken for a request of man(7)."""

import re
import shutil
from pathlib import Path

import pytest

from rocks.cli import manual
from rocks.commands._framework.tree import OUR_TREE, all_commands, load_package
from rocks.core.process import run_checked

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
