"""Files of sysfs, read and written one value at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Dict

from rocks.core.errors import HostError, ToolError


def read_text(path: Path) -> str:
    """The value of a file. HostError when it cannot be read."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise HostError(f"cannot read {path}: {_reason(error)}") from None


def read_table(folder: Path) -> Dict[int, int]:
    """Index → key of a port's table; empty entries (0x0000) are omitted. HostError for an invalid value."""
    found = {}
    for entry in folder.glob("*"):
        text = read_text(entry)
        try:
            key = int(text, 16)
        except ValueError:
            raise HostError(f"{entry} contains {text[:40]!r}, which is not a partition key") from None
        if key and entry.name.isdecimal():
            found[int(entry.name)] = key
    return found


def write_changed(path: Path, text: str) -> bool:
    """Write the value unless the file has it; whether it was written. ToolError when the write fails."""
    if read_text(path) == text:
        return False
    try:
        path.write_text(f"{text}\n", encoding="ascii")
    except OSError as error:
        raise ToolError(
            f"the kernel of this host did not accept {text} for {path}: {error.strerror}"
        ) from None
    return True


def colons(guid: str) -> str:
    """Sixteen hexadecimal digits as pairs separated by colons."""
    return ":".join(guid[i : i + 2] for i in range(0, 16, 2))


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or "it is not text"
