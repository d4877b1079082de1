"""Checks of everything that becomes an argument of `zfs`; pure."""

from __future__ import annotations

import re
from typing import Mapping

from rocks.core.errors import UserError

OUR_PREFIX = "imgstore:"
AUTOMATIC = OUR_PREFIX + "auto"
AUTOMATIC_PROPERTY = {AUTOMATIC: "on"}
"""Of snapshots that the system creates: only these are ever destroyed by retention."""

MAX_NAME_CHARACTERS = 255
_PART = re.compile(r"(?!\.+\Z)[A-Za-z0-9.][A-Za-z0-9_.:-]{0,200}\Z")
_POOL = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,200}\Z")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,200}\Z")
_KEY = re.compile(r"imgstore:[a-z0-9_.-]{1,100}\Z")
_TOKEN = re.compile(r"[A-Za-z0-9+/=_-]{1,4096}\Z")
_MAX_VALUE_BYTES = 1024


def check_dataset(name: str) -> None:
    """UserError unless `name` is valid for a pool or a dataset in it."""
    pool, *parts = name.split("/")
    if len(name) > MAX_NAME_CHARACTERS or not _POOL.match(pool) or not all(map(_PART.match, parts)):
        raise UserError(
            f"{name[:80]!r} is not a valid ZFS dataset name: letters, digits, '_', '-', ':' and '.'"
        )


def check_volume(name: str) -> None:
    """UserError unless `name` is valid for a volume in a pool."""
    check_dataset(name)
    if "/" not in name:
        raise UserError(f"{name!r} is the name of a pool; a volume's is POOL/NAME")


def check_part(name: str) -> None:
    """UserError unless `name` is valid after the `@` of a snapshot, the `#` of a bookmark, or as the tag of a hold."""
    if not _TAG.match(name):
        raise UserError(
            f"{name[:80]!r} is not a valid name of a snapshot, bookmark or hold: letters, digits and '_.:-'"
        )


def check_snapshot(name: str) -> None:
    """UserError unless `name` is a valid full name of a snapshot."""
    volume, _, part = name.partition("@")
    check_volume(volume)
    check_part(part)


def check_token(token: str) -> None:
    """UserError unless `token` has the format of a resume token."""
    if not _TOKEN.match(token):
        raise UserError("a resume token consists of letters, digits and +/=_-")


def check_properties(properties: Mapping[str, str], of_snapshot: bool = False) -> None:
    """UserError unless these are valid `imgstore:` properties.

    Snapshots inherit the properties of their volume, so a volume never has the one that marks automatic snapshots.
    """
    for key, value in properties.items():
        if not _KEY.match(key) or (key == AUTOMATIC and not of_snapshot):
            raise UserError(f"{key[:80]!r} is not a property that the system sets on a volume")
        if len(value.encode()) > _MAX_VALUE_BYTES or not value.isprintable() or value in ("", "-"):
            raise UserError(f"{value[:80]!r} is not a valid value of the property {key}")


def check_size(volume: str, size_bytes: int, block_bytes: int) -> None:
    """UserError unless the block size is valid and divides the size."""
    if not (512 <= block_bytes <= 131072 and block_bytes & (block_bytes - 1) == 0):
        raise UserError(f"{block_bytes} is not a valid volblocksize: a power of two from 512 to 131072")
    if size_bytes <= 0 or size_bytes % block_bytes:
        raise UserError(
            f"{volume} cannot have {size_bytes} bytes: not a multiple of its volblocksize {block_bytes}"
        )
