"""The archive of the host agent: a physical host unpacks it below /opt/rocks.

    python3 -m lab.agent_archive FOLDER

writes FOLDER/rocks-agent-VERSION.tar.gz and prints its path. It holds `lib/rocks-agent.pyz` with the packages that run
on a host, `libexec/rocks-agent`, which starts the agent with the host's own Python, and `libexec/rocks-libvirt-hook`,
to be linked as /etc/libvirt/hooks/qemu.d/rocks. `lib/systemd` has the units: rocks-links.service brings the network
devices of guests back at a boot, rocks-agent.socket starts the agent that listens.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from lab.namespace import Machine
from lab.program_archive import CHECKOUT, File, ProgramArchive, program
from rocks.agent.start import SOCKET

PACKAGES = tuple((CHECKOUT / "packaging" / "common-modules").read_text("ascii").split())
"""Packages and modules of src/rocks for every machine."""

_UNIT_FILES = CHECKOUT / "packaging" / "files" / "units"
_HOOK = """\
#!/bin/sh
exec "$(dirname "$(readlink -f "$0")")/rocks-agent" hook "$@"
"""

_UNITS = ("rocks-links.service", "rocks-agent.socket", "rocks-agent.service")
_LISTENING = "rocks-agent-listen"
_AGAIN = 'while setpriv --pdeathsig KILL "$@"; do :; done'
"""It ends when it was idle, or its package was changed. The units would start another one with the next request."""

_ARCHIVE = ProgramArchive(
    "rocks-agent",
    PACKAGES,
    {
        "libexec/rocks-agent": program("rocks-agent", "rocks-agent", "rocks.agent.start"),
        "libexec/rocks-libvirt-hook": File(_HOOK, 0o755),
        **{f"lib/systemd/{unit}": File((_UNIT_FILES / unit).read_text("ascii")) for unit in _UNITS},
    },
)


def build(folder: Path) -> Path:
    """Write the archive into the folder; returns its path."""
    return _ARCHIVE.build(folder)


def install(folder: Path) -> None:
    """Put the same files below a folder, as unpacking the archive there would."""
    _ARCHIVE.install(folder)


def listen(machine: Machine) -> None:
    """Start the agent that listens, in a machine of a network namespace, which has no systemd for its units.

    It is the child of the daemon, and has no capability that its unit takes from it. One whose package is only two
    seconds old does not listen.
    """
    age_seconds = time.time() - machine.outside("/opt/rocks/lib/rocks-agent.pyz").stat().st_ctime
    time.sleep(max(0.0, 2.1 - age_seconds))
    confine = ["setpriv", "--no-new-privs", f"--bounding-set={_denied()}"]
    activate = [*confine, "/usr/bin/systemd-socket-activate", "--seqpacket", f"--listen={SOCKET}"]
    again = ["/bin/sh", "-c", _AGAIN, "sh"]
    machine.start_daemon(_LISTENING, [*again, *activate, "/opt/rocks/libexec/rocks-agent", "listen"])


def _denied() -> str:
    """The capabilities that the agent's unit does without, as setpriv(1) takes them."""
    unit = (_UNIT_FILES / "rocks-agent.service").read_text("ascii")
    lists = [
        line.partition("=~")[2] for line in unit.splitlines() if line.startswith("CapabilityBoundingSet=~")
    ]
    return ",".join(f"-{name.lower().removeprefix('cap_')}" for names in lists for name in names.split())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 -m lab.agent_archive FOLDER")
    print(build(Path(sys.argv[1])))
