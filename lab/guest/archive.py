"""The initramfs as a cpio archive in the kernel's `newc` form.

Source: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from typing import NamedTuple

_ALIGNMENT = 4
_LAST_NAME = "TRAILER!!!"


class Entry(NamedTuple):
    """One file of the archive: name without a leading slash, mode with its file type, content, device numbers."""

    name: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def folder(name: str) -> Entry:
    """A folder that everybody may read."""
    return Entry(name, stat.S_IFDIR | 0o755)


def program(name: str, content: bytes) -> Entry:
    """A file that can be executed."""
    return Entry(name, stat.S_IFREG | 0o755, content)


def document(name: str, content: bytes) -> Entry:
    """A file that is only read."""
    return Entry(name, stat.S_IFREG | 0o644, content)


def character_device(name: str, major: int, minor: int) -> Entry:
    """A device node; the kernel opens /dev/console before anything is mounted."""
    return Entry(name, stat.S_IFCHR | 0o600, b"", (major, minor))


def write_archive(entries: Iterable[Entry]) -> bytes:
    """The whole archive, its closing entry included; folders must come before what they hold."""
    records = [*entries, Entry(_LAST_NAME, 0)]
    return b"".join(_record(number, entry) for number, entry in enumerate(records, start=1))


def _record(number: int, entry: Entry) -> bytes:
    name = entry.name.encode() + b"\0"
    fields = (
        number,
        entry.mode,
        0,  # owner
        0,  # group
        2 if stat.S_ISDIR(entry.mode) else 1,  # links
        0,  # time: left out, so that equal content gives equal bytes
        len(entry.content),
        0,
        0,
        *entry.device,
        len(name),
        0,
    )
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + name) + _padded(entry.content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _ALIGNMENT)
