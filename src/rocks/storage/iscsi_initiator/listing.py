"""Reads iSCSI sessions from sysfs: no process and no I/O to a disk, so it cannot hang.

An offline disk counts as attached.
"""

from __future__ import annotations

from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

from rocks.storage.iscsi_initiator.driver import SessionFact
from rocks.storage.iscsi_initiator.rules import device_path_of

SYSTEM = Path("/sys")
_SECTOR_BYTES = 512
_PAGE_HEADER_BYTES = 4
_SERIAL_PAGE = 0x80


class KernelSession(NamedTuple):
    """A session and its folders in sysfs; `disk_folder` is below /sys/block, None without a disk."""

    fact: SessionFact
    folder: Path
    host: str
    disk_folder: Optional[Path]


def read_kernel_sessions(system: Path = SYSTEM) -> Tuple[KernelSession, ...]:
    """All sessions, sorted by target; sessions that end meanwhile are omitted."""
    found: List[KernelSession] = []
    for folder in sorted((system / "class/iscsi_session").glob("session*")):
        try:
            found.append(_read_session(system, folder))
        except (OSError, ValueError):
            continue
    return tuple(sorted(found, key=lambda session: session.fact.target))


def parse_serial(page: bytes) -> str:
    """The unit serial in VPD page 80 (SPC: a header of 4 bytes, the last two are the length)."""
    if len(page) < _PAGE_HEADER_BYTES or page[1] != _SERIAL_PAGE:
        return ""
    length = int.from_bytes(page[2:_PAGE_HEADER_BYTES], "big")
    text = page[_PAGE_HEADER_BYTES : _PAGE_HEADER_BYTES + length]
    return text.decode("ascii", "replace").strip("\0 ")


def _read_session(system: Path, folder: Path) -> KernelSession:
    device = (folder / "device").resolve(strict=True)
    connection = next(iter(sorted(device.glob("connection*/iscsi_connection/connection*"))), None)
    target = _read(folder / "targetname")
    address = _read(connection / "persistent_address") if connection is not None else ""
    port = int(_read(connection / "persistent_port")) if connection is not None else 0
    unit = next(iter(sorted(device.glob("target*/*:0"))), None)
    names = sorted(path.name for path in unit.glob("block/*")) if unit is not None else []
    disk = system / "block" / names[0] if names else None
    fact = SessionFact(
        target=target,
        address=address,
        port=port,
        state=_read(folder / "state"),
        device_path=device_path_of(target, address, port) if disk is not None else "",
        disk=names[0] if names else "",
        unit_serial=parse_serial((unit / "vpd_pg80").read_bytes())
        if disk is not None and unit is not None
        else "",
        size_bytes=int(_read(disk / "size")) * _SECTOR_BYTES if disk is not None else 0,
        is_read_only=disk is not None and _read(disk / "ro") == "1",
    )
    return KernelSession(fact, folder, device.parent.name, disk)


def _read(path: Path) -> str:
    return path.read_text("ascii", "replace").strip()
