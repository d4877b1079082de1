"""The program of the frontend's medium: which commands it runs for a new site, and for one that is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab.namespace import CHECKOUT
from rocks.process import Finished, run

_SITE = "attr                       value\nKickstart_PrivateHostname: head\n"
_PROGRAM = """set -eu
fail() { echo "Error: $*" >&2; exit 1; }
step() { shift; "$@"; }
env() { shift 2; "$@"; }
rocks() {
  echo "rocks $*" >&9
  case "$1 $2" in
    "report database") [ "$answers_database" = yes ] || { echo "Error: it is down" >&2; return 1; } ;;
    "report distro") echo "$work/install" ;;
    "update database") updated=yes ;;
    "list attr") [ -n "$updated" ] && printf %s "$attributes_there" ;;
    "create distro") ;;
    list*) [ -n "$updated" ] ;;
  esac
}
exec 9>&1
updated= work=$1 completed=$1/installed-version before=$2 attributes_there=$3 answers_database=$4
version=0.2.0-1 answers=/root/site medium=$1 os_roll=
"""


def _run(folder: Path, before: str, attributes: str, answers: str = "yes") -> tuple[Finished, list[str]]:
    """Run the part for the site; the database is of another version until it is updated."""
    text = (CHECKOUT / "roll/frontend/install").read_text("utf-8").partition("# --- the site\n")[2]
    text = text.replace("[ -d /run/systemd/system ]", "false").replace("9>&-", "")
    arguments = ["sh", "-c", _PROGRAM + text, "install", str(folder), before, attributes, answers]
    done = run(arguments, deadline_seconds=60)
    return done, [line for line in done.text.splitlines() if line.startswith("rocks ")]


def test_an_upgrade_updates_the_database_and_enters_no_site(tmp_path: Path) -> None:
    """Also if the new programs cannot read the database before; a copy is made in any case."""
    done, commands = _run(tmp_path, "0.1.0-1", _SITE)
    assert done.exit_status == 0, done.error_text
    assert "rocks update database backup=yes" in commands and "rocks check site" in commands
    assert not [line for line in commands if line.startswith("rocks create site")]
    assert (tmp_path / "installed-version").read_text() == "0.2.0-1\n"


def test_a_repetition_makes_no_further_copy(tmp_path: Path) -> None:
    _, commands = _run(tmp_path, "0.2.0-1", _SITE)
    assert "rocks update database" in commands


@pytest.mark.parametrize("before", ["", "0.1.0-1"])
def test_a_database_without_a_site_gets_one(tmp_path: Path, before: str) -> None:
    """Also after an interruption between the packages and the site."""
    assert "rocks create site answers=/root/site" in _run(tmp_path, before, "")[1]


def test_a_database_that_does_not_answer_ends_it(tmp_path: Path) -> None:
    done, commands = _run(tmp_path, "", "", answers="no")
    assert done.exit_status == 1 and done.error_text.startswith("Error: it is down; then run ")
    assert set(commands) == {"rocks report database"}


@pytest.mark.parametrize("signal", ["HUP", "INT", "TERM"])
def test_an_interrupted_installation_removes_what_holds_the_broker_back(signal: str) -> None:
    """Also if the connection ends over which it runs."""
    text = (CHECKOUT / "roll/frontend/install").read_text("utf-8")
    traps = [line for line in text.splitlines() if line.startswith("trap ")]
    program = ["finish() { echo finished; }", *traps, f"kill -{signal} $$", "sleep 5", "echo went on"]
    done = run(["sh", "-c", "\n".join(program)], deadline_seconds=60)
    assert done.text == "finished\n" and done.exit_status != 0


@pytest.mark.skipif(os.geteuid() != 0, reason="another user's file is made by root")
def test_an_os_roll_of_another_user_beside_the_medium_is_not_taken(tmp_path: Path) -> None:
    """Its commands would become root's, and every user can write to /tmp."""
    text = (CHECKOUT / "roll/frontend/install").read_text("utf-8")
    program = text.partition('if [ -z "$os_roll" ]; then\n')[2].partition("exec 9>")[0]
    (tmp_path / "medium").mkdir()
    for path in (tmp_path / "medium/install", tmp_path / "os-1.iso", tmp_path / "os-2.iso"):
        path.touch()
    os.chown(tmp_path / "os-2.iso", 1000, 1000)
    (tmp_path / "os-3.iso").symlink_to(tmp_path / "os-1.iso")
    os.chown(tmp_path / "os-3.iso", 1000, 1000, follow_symlinks=False)

    begin = f'set -eu; medium={tmp_path}/medium os_roll=; fail() {{ echo "$*"; exit 1; }}; if true; then\n'
    done = run(["sh", "-c", f'{begin}{program}echo "$os_roll"'], deadline_seconds=60)
    assert done.text == f"{tmp_path}/os-1.iso\n", done.error_text
    assert "os-2.iso is another user's" in done.error_text and "os-3.iso is another" in done.error_text
