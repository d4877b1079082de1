"""The program of the frontend's medium: which commands it runs for a new site, and for one that is there."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.namespace import CHECKOUT
from rocks.process import run

_SITE = "attr                       value\nKickstart_PrivateHostname: head\n"
_PROGRAM = """set -eu
fail() { echo "Error: $*" >&2; exit 1; }
step() { :; }
rocks() {
  echo "rocks $*"
  case "$1 $2" in
    "update database") updated=yes ;;
    "list attr") [ -n "$updated" ] && printf %s "$attributes_there" ;;
    list*) [ -n "$updated" ] ;;
  esac
}
updated= socket=$1 present=$2 attributes_there=$3 answers=/root/site
"""


@pytest.fixture
def database_socket(tmp_path: Path) -> Iterator[Path]:
    """A socket, as that of the database."""
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "s"))
        yield tmp_path / "s"


def _commands(database_socket: Path, present: str, attributes: str) -> list[str]:
    """What the part for the site runs, if the database is of another version until it is updated."""
    text = (CHECKOUT / "roll/frontend/install").read_text("utf-8").partition("# --- the site\n")[2]
    done = run(
        ["sh", "-c", _PROGRAM + text, "install", str(database_socket), present, attributes],
        deadline_seconds=60,
    )
    assert done.exit_status == 0, done.error_text
    return [line for line in done.text.splitlines() if line.startswith("rocks ")]


def test_an_upgrade_updates_the_database_and_enters_no_site(database_socket: Path) -> None:
    """Also if the new programs cannot read the database before."""
    commands = _commands(database_socket, "0.1.0-1", _SITE)
    assert commands == ["rocks update database", "rocks check site"]


@pytest.mark.parametrize("present", ["", "0.1.0-1"])
def test_a_database_without_a_site_gets_one(database_socket: Path, present: str) -> None:
    """Also after an interruption between the packages and the site."""
    assert "rocks create site answers=/root/site" in _commands(database_socket, present, "")


@pytest.mark.parametrize("signal", ["HUP", "INT", "TERM"])
def test_an_interrupted_installation_removes_what_holds_the_broker_back(signal: str) -> None:
    """Also if the connection ends over which it runs."""
    text = (CHECKOUT / "roll/frontend/install").read_text("utf-8")
    traps = [line for line in text.splitlines() if line.startswith("trap ")]
    program = ["finish() { echo finished; }", *traps, f"kill -{signal} $$", "sleep 5", "echo went on"]
    done = run(["sh", "-c", "\n".join(program)], deadline_seconds=60)
    assert done.text == "finished\n" and done.exit_status != 0
