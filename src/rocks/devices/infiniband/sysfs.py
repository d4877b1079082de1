"""Files of sysfs, read and written one value at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Dict

from rocks.errors import HostError, ToolError


def read_text(path: Path) -> str:
    """The value of a file. HostError when the kernel does not give it."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise HostError(f"cannot read {path}: {_reason(error)}") from None


def read_table(folder: Path) -> Dict[int, int]:
    """Index → key of a port's table; entries that hold nothing (0x0000) are left out. HostError for what is no key."""
    found = {}
    for entry in folder.glob("*"):
        text = read_text(entry)
        try:
            key = int(text, 16)
        except ValueError:
            raise HostError(f"{entry} holds {text[:40]!r}, which is no partition key") from None
        if key and entry.name.isdecimal():
            found[int(entry.name)] = key
    return found


def write_changed(path: Path, text: str) -> bool:
    """Have the file say so; returns whether it said something else. ToolError when the kernel refuses."""
    if read_text(path) == text:
        return False
    try:
        path.write_text(f"{text}\n", encoding="ascii")
    except OSError as error:
        raise ToolError(f"the kernel of this host did not take {text} for {path}: {error.strerror}") from None
    return True


def colons(guid: str) -> str:
    """Sixteen hexadecimal digits as pairs with colons between them."""
    return ":".join(guid[i : i + 2] for i in range(0, 16, 2))


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or "it is no text"
