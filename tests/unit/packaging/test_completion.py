"""Completion of bash for `rocks`, by the program itself."""

import os
import shutil

import pytest

from lab.namespace import CHECKOUT
from rocks.core.process import run_checked

_FILE = CHECKOUT / "packaging/files/completion/rocks.bash-completion"
_PATH = f"{CHECKOUT}/bin:{os.environ['PATH']}"
_SCRIPT = """\
source "$1"
COMP_LINE=$3
COMP_POINT=${#COMP_LINE}
_rocks "$2"
printf '%s\\n' "${COMPREPLY[@]}"
"""

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


@pytest.fixture(autouse=True)
def without_a_site(monkeypatch: pytest.MonkeyPatch) -> None:
    """No demo and no database of this machine is asked."""
    monkeypatch.setenv("ROCKS_STATE", "/nowhere")
    monkeypatch.setenv("ROCKS_DATABASE_SOCKET", "/nowhere/mysql.sock")


def _printed(line: str) -> tuple[str, str]:
    """What completion offers, and what it prints on the terminal, for `rocks` and this line."""
    command = ["bash", "-u", "-c", _SCRIPT, "bash", str(_FILE), "rocks", f"rocks {line}"]
    ended = run_checked(command, deadline_seconds=60, environment=os.environ | {"PATH": _PATH})
    return ended.text, ended.error_text


def _offered(line: str) -> list[str]:
    text, error = _printed(line)
    assert error == ""
    return text.split()


def test_names_of_commands() -> None:
    """The groups, then what follows."""
    assert {"add", "list", "start"} <= set(_offered(""))
    assert _offered("lis") == ["list"]
    assert _offered("start host ") == ["vm"]


def test_parameters_and_their_values() -> None:
    """bash replaces what follows the equals sign only."""
    assert _offered("list host vm vm-vc1-0 sta") == ["status="]
    assert _offered("list host vm status=") == ["yes", "no"]
    assert _offered("list host vm status=y") == ["yes"]


@pytest.mark.parametrize(
    "line",
    [
        "nothing ",
        "../.. ",
        "$(exit 3) ",
        "list 'a b' x",
        "list 'open ",
        "add host \x1b[2J",
        "`touch /nowhere/x` ",
    ],
)
def test_nothing_for_what_names_no_command(line: str) -> None:
    """Nor is any of it run, nor is anything printed."""
    assert _offered(line) == []


def test_an_unknown_program_prints_nothing() -> None:
    command = ["bash", "-u", "-c", _SCRIPT, "bash", str(_FILE), "/nowhere/rocks", "/nowhere/rocks li"]
    ended = run_checked(command, deadline_seconds=60)
    assert (ended.text.strip(), ended.error_text) == ("", "")
