"""The archive of the image daemons: a NAS or a host unpacks it below /opt/rocks.

    python3 -m lab.imgstorage_archive FOLDER

writes FOLDER/rocks-imgstorage-VERSION.tar.gz and prints its path. It holds the packages that the daemons run on, the
programs `libexec/rocks-imgstorage-nas` and `-host`, and their units, to be linked into /etc/systemd/system.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lab.program_archive import File, ProgramArchive, program

PACKAGES = (
    "errors.py",
    "terminal.py",
    "units.py",
    "clock.py",
    "files.py",
    "process.py",
    "wire",
    "devices",
    "imgstorage",
)
"""Packages and modules of src/rocks for a NAS or a host."""

_UNIT = """\
[Unit]
Description=Image storage: the daemon of a {role}
# retry without limit: the pool may be imported later, and the certificate deployed later
StartLimitIntervalSec=0
After=network.target zfs.target {after}
{before}
[Service]
Type=notify
ExecStart=/opt/rocks/libexec/rocks-imgstorage-{role}
Restart=on-failure
RestartSec=2
# transfers are children of the daemon; its next start continues them
KillMode=mixed
TimeoutStartSec=120
TimeoutStopSec=60

[Install]
WantedBy=multi-user.target
"""

_ARCHIVE = ProgramArchive(
    "rocks-imgstorage",
    PACKAGES,
    {
        "libexec/rocks-imgstorage-nas": program(
            "rocks-imgstorage-nas", "rocks-imgstorage", "rocks.imgstorage.nas.__main__"
        ),
        "libexec/rocks-imgstorage-host": program(
            "rocks-imgstorage-host", "rocks-imgstorage", "rocks.imgstorage.host.__main__"
        ),
        "lib/systemd/rocks-imgstorage-nas.service": File(_UNIT.format(role="nas", after="", before="")),
        # the daemon rebuilds the guests' devices before libvirt starts guests automatically
        "lib/systemd/rocks-imgstorage-host.service": File(
            _UNIT.format(role="host", after="iscsid.socket", before="Before=libvirtd.service\n")
        ),
    },
)


def build(folder: Path) -> Path:
    """Write the archive into the folder; returns its path."""
    return _ARCHIVE.build(folder)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 -m lab.imgstorage_archive FOLDER")
    print(build(Path(sys.argv[1])))
