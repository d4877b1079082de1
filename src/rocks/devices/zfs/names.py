"""What may be called what in a pool: everything that becomes an argument of `zfs` is checked here first; pure."""

from __future__ import annotations

import re
from typing import Mapping

from rocks.errors import UserError

OUR_PREFIX = "imgstore:"
AUTOMATIC = OUR_PREFIX + "auto"
"""Set to `on` on the snapshots that the system made by itself and may trim."""

MAX_NAME_CHARACTERS = 255
_PART = re.compile(r"(?!\.+\Z)[A-Za-z0-9.][A-Za-z0-9_.:-]{0,200}\Z")
_POOL = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,200}\Z")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,200}\Z")
_KEY = re.compile(r"imgstore:[a-z0-9_.-]{1,100}\Z")
_TOKEN = re.compile(r"[A-Za-z0-9+/=_-]{1,4096}\Z")
_MAX_VALUE_BYTES = 1024


def check_dataset(name: str) -> None:
    """UserError unless `name` can be that of a pool or of something in it."""
    pool, *parts = name.split("/")
    if len(name) > MAX_NAME_CHARACTERS or not _POOL.match(pool) or not all(map(_PART.match, parts)):
        raise UserError(f"{name[:80]!r} is no name in a ZFS pool: letters, digits, '_', '-', ':' and '.'")


def check_volume(name: str) -> None:
    """UserError unless `name` can be that of a volume, which lies in a pool."""
    check_dataset(name)
    if "/" not in name:
        raise UserError(f"{name!r} is the name of a pool; a volume's is POOL/NAME")


def check_part(name: str) -> None:
    """UserError unless `name` can stand after the `@` of a snapshot, the `#` of a bookmark, or be a hold's tag."""
    if not _TAG.match(name):
        raise UserError(
            f"{name[:80]!r} is no name of a snapshot, bookmark or hold: letters, digits and '_.:-'"
        )


def check_snapshot(name: str) -> None:
    """UserError unless `name` can be the whole name of a snapshot."""
    volume, _, part = name.partition("@")
    check_volume(volume)
    check_part(part)


def check_token(token: str) -> None:
    """UserError unless `token` can be a resume token."""
    if not _TOKEN.match(token):
        raise UserError("a resume token is one word of letters and digits")


def check_properties(properties: Mapping[str, str], of_snapshot: bool = False) -> None:
    """UserError unless these can be properties of ours.

    A snapshot inherits what its volume has, so a volume never has the one by which automatic snapshots are known.
    """
    for key, value in properties.items():
        if not _KEY.match(key) or (key == AUTOMATIC and not of_snapshot):
            raise UserError(f"{key[:80]!r} is no property that the system sets on a volume")
        if len(value.encode()) > _MAX_VALUE_BYTES or not value.isprintable() or value in ("", "-"):
            raise UserError(f"{value[:80]!r} cannot be the value of the property {key}")


def check_size(volume: str, size_bytes: int, block_bytes: int) -> None:
    """UserError unless a volume with blocks of that size can have that size."""
    if not (512 <= block_bytes <= 131072 and block_bytes & (block_bytes - 1) == 0):
        raise UserError(f"{block_bytes} is no block size of a volume: a power of two from 512 to 131072")
    if size_bytes <= 0 or size_bytes % block_bytes:
        raise UserError(
            f"{volume} cannot have {size_bytes} bytes: no multiple of its blocks of {block_bytes}"
        )
