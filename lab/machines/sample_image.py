"""Guests of the sample cluster whose disks are images on the NAS; for demo and tests."""

from __future__ import annotations

from lab.machines.frontend import Frontend
from lab.machines.lab import Lab
from lab.machines.roster import NAS

GUEST = "vm-vc1-0"
VOLUME = f"{GUEST}-vol"
_SIZE_MB = 64
_IMPORT_SECONDS = 240.0


def put(lab: Lab, frontend: Frontend, guest: str = GUEST) -> None:
    """Import the counting guest as an image, and record it in the database as the disk of a guest."""
    volume = f"{guest}-vol"
    file = lab.folder / f"{volume}.raw"
    file.write_bytes(lab.counting_guest.read_bytes())
    with file.open("r+b") as whole:
        whole.truncate(_SIZE_MB << 20)
    try:
        arguments = (NAS.site_name, NAS.pool, volume, f"file={file}")
        frontend.done("add", "host", "storageimg", *arguments, deadline_seconds=_IMPORT_SECONDS)
    finally:
        file.unlink()
    frontend.done("set", "host", "vm", "nas", guest, f"nas={NAS.site_name}", f"zpool={NAS.pool}")
