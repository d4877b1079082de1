"""Completion of bash for `rocks`: words from the folders of commands, parameters from their text."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lab.namespace import CHECKOUT
from rocks.process import run_checked

_FILE = CHECKOUT / "packaging/files/rocks.bash-completion"
_SCRIPT = """\
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_rocks "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


def _offered(*arguments: str) -> list[str]:
    program = str(CHECKOUT / "bin/rocks")
    command = ["bash", "-u", "-c", _SCRIPT, "bash", str(_FILE), program, *arguments]
    return run_checked(command, deadline_seconds=10).text.split()


def test_names_of_commands() -> None:
    """The groups, then what follows, without the framework's folders."""
    assert {"add", "list", "start"} <= set(_offered(""))
    assert not [word for word in _offered("") if word.startswith("_")]
    assert _offered("lis") == ["list"]
    assert _offered("start", "host", "") == ["vm"]


def test_parameters() -> None:
    """Those of the command, once each, after its words and after its arguments."""
    assert _offered("list", "host", "vm", "sta") == ["status="]
    assert _offered("list", "host", "vm", "vm-vc1-0", "sta") == ["status="]
    offered = _offered("add", "cluster", "203.0.113.9", "")
    assert "fe-name=" in offered and len(offered) == len(set(offered))


@pytest.mark.parametrize(
    "arguments", [("nothing", ""), ("../..", ""), ("$(exit 3)", ""), ("list", "a b", "x"), ("_shared", "")]
)
def test_nothing_for_what_names_no_command(arguments: tuple[str, ...]) -> None:
    """Nor is any of it run."""
    assert _offered(*arguments) == []


def test_the_value_of_a_parameter() -> None:
    """It is the user's; bash hands over the equals sign as a word."""
    assert _offered("list", "host", "vm", "status", "=") == []
    assert _offered("list", "host", "vm", "status", "=", "y") == []


def test_another_roll_s_tree(tmp_path: Path) -> None:
    """A folder named in trees.d counts; the test gives the file by a copy that looks elsewhere."""
    (tmp_path / "trees.d").mkdir()
    (tmp_path / "tree/list/tile").mkdir(parents=True)
    (tmp_path / "tree/list/tile/__init__.py").write_text("<param type='bool' name='dark'>\n", "utf-8")
    (tmp_path / "trees.d/viz").write_text(f"# comment\n{tmp_path}/tree\n", "utf-8")
    copy = tmp_path / "completion"
    copy.write_text(_FILE.read_text("utf-8").replace("/etc/rocks/trees.d", f"{tmp_path}/trees.d"), "utf-8")
    command = ["bash", "-u", "-c", _SCRIPT, "bash", str(copy), str(CHECKOUT / "bin/rocks"), "list"]
    assert "tile" in run_checked([*command, ""], deadline_seconds=10).text.split()
    assert run_checked([*command, "tile", ""], deadline_seconds=10).text.split() == ["dark="]
