"""The archive of the host agent: a physical host unpacks it below /opt/rocks.

    python3 -m lab.agent_archive FOLDER

writes FOLDER/rocks-agent-VERSION.tar.gz and prints its path. It holds `lib/rocks-agent.pyz` with the packages that run
on a host, `libexec/rocks-agent`, which starts the agent with the host's own Python, and `libexec/rocks-libvirt-hook`,
to be linked as /etc/libvirt/hooks/qemu.d/rocks; `lib/systemd/rocks-links.service` brings the network devices of guests
back at a boot.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lab.program_archive import CHECKOUT, File, ProgramArchive, program

PACKAGES = tuple((CHECKOUT / "packaging" / "common-modules").read_text("ascii").split())
"""Packages and modules of src/rocks for every machine."""

_HOOK = """\
#!/bin/sh
exec "$(dirname "$(readlink -f "$0")")/rocks-agent" hook "$@"
"""

_UNIT = """\
[Unit]
Description=Network devices of virtual clusters
After=network.target systemd-modules-load.service local-fs.target
Before=libvirtd.service virtqemud.service libvirt-guests.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/opt/rocks/libexec/rocks-agent links
TimeoutStartSec=120

[Install]
WantedBy=multi-user.target
"""

_ARCHIVE = ProgramArchive(
    "rocks-agent",
    PACKAGES,
    {
        "libexec/rocks-agent": program("rocks-agent", "rocks-agent", "rocks.agent.main"),
        "libexec/rocks-libvirt-hook": File(_HOOK, 0o755),
        "lib/systemd/rocks-links.service": File(_UNIT),
    },
)


def build(folder: Path) -> Path:
    """Write the archive into the folder; returns its path."""
    return _ARCHIVE.build(folder)


def install(folder: Path) -> None:
    """Put the same files below a folder, as unpacking the archive there would."""
    _ARCHIVE.install(folder)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 -m lab.agent_archive FOLDER")
    print(build(Path(sys.argv[1])))
