"""What both ends of a move of a disk, and the frontend between them, know: names, and lines of the receiver."""

from __future__ import annotations

HAVE, DIFFERS, CHECKED, STORED = "have", "differs", "checked", "stored"
"""How the receiver's lines begin: bytes that it has, from where on they differ, bytes read back, the digest."""


def moving_path(path: str) -> str:
    """The file of a disk that is not complete yet; it is no disk of a machine."""
    return f"{path}.moving"
