"""The installer's program for the first boot runs the profile that the frontend gives."""

from __future__ import annotations

from pathlib import Path

from lab.namespace import CHECKOUT
from rocks.graph.profile import Profile
from rocks.graph.shell import shell_script
from rocks.process import run

_PROGRAM = CHECKOUT / "roll/installer/initramfs/first-boot"
_FUNCTIONS = 'rocks_begin() { :; }\nrocks_end() { echo "profile of $ROCKS_HOST"; }\n'
_WGET = """#!/bin/sh
while [ $# -gt 1 ]; do
  [ "$1" != -O ] || output=$2
  case $1 in --post-file=*) cat "${1#*=}" >>REPORTS; echo >>REPORTS ;; esac
  shift
done
[ "$1" != https://head/profile ] || cat PROFILE >"$output"
"""


def test_a_profile_is_executed_and_reported(tmp_path: Path) -> None:
    """It is a script of bash."""
    profile, reports, wget = tmp_path / "profile.bash", tmp_path / "reports", tmp_path / "wget"
    profile.write_text(shell_script(Profile("compute-0-0", ()), _FUNCTIONS, "deb"))
    wget.write_text(_WGET.replace("REPORTS", str(reports)).replace("PROFILE", str(profile)))
    wget.chmod(0o755)
    (tmp_path / "profile").write_text("https://head/profile")
    (tmp_path / "progress").write_text("https://head/progress")
    state = tmp_path / "state"
    program = _PROGRAM.read_text("utf-8").replace("/etc/rocks/installation", str(tmp_path))
    done = run(
        ["sh", "-c", program.replace("/var/lib/rocks/first-boot", str(state))],
        deadline_seconds=60,
        environment={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )
    assert done.exit_status == 0, done.error_text
    assert done.text == "profile of compute-0-0\n"
    assert reports.read_text().splitlines()[-1] == "configured"
    assert (state / "complete").exists() and not (state / "profile").exists()
