"""Numbers, texts and sizes of the operator: parsed, checked and printed. Pure."""

from __future__ import annotations

import re
from typing import Optional

from rocks.core.errors import UserError
from rocks.core.names import printable

TRUE_VALUES = frozenset(("on", "yes", "y", "true", "1"))
FALSE_VALUES = frozenset(("off", "no", "n", "false", "0"))
"""Values of attributes and parameters that mean yes and no, in lower case."""

HIGHEST_NUMBER = 999_999_999
"""The largest rack, rank or count; it fits a column of the database and a `rackN` selector."""


def read_number(name: str, text: str, lowest: int, highest: int = HIGHEST_NUMBER, unit: str = "") -> int:
    """The integer in `text`, the value of parameter `name`; UserError for any other text or outside the bounds.

    The error has the unit, and how a size is typed with one of its own.
    """
    digits = text.removeprefix("-")
    is_number = digits.isascii() and digits.isdigit() and len(digits) <= 18
    if not is_number or not lowest <= int(text) <= highest:
        of = f" {unit}" if unit else ""
        size = ", or a size such as 40G" if unit in UNITS and not is_number else ""
        raise UserError(f'{name} "{printable(text)}" must be an integer from {lowest} to {highest}{of}{size}')
    return int(text)


def yes_or_no(name: str, text: str) -> bool:
    """The boolean value of the parameter `name`; UserError for a text that means neither yes nor no."""
    if text.lower() in TRUE_VALUES:
        return True
    if text.lower() in FALSE_VALUES:
        return False
    raise UserError(f'"{name}" must be yes or no, not "{printable(text)}"')


def is_null(text: str) -> bool:
    """Whether `text` is NULL, in any case, which clears a column."""
    return text.lower() == "null"


def check_text(what: str, text: str, longest: int) -> None:
    """UserError unless `text` fits its column and is one line; quotes, XML and shell characters are allowed."""
    if len(text) > longest:
        raise UserError(f"{what} is too long: {len(text)} characters, at most {longest} are stored")
    for character in text:
        if not character.isprintable():
            raise UserError(
                f'{what} "{printable(text)}" is not valid: {printable(character)} is not a printable character'
            )


# Sizes and their names. Memory is recorded in MB of 1024² bytes, disks of hosts in GB of 1000³ bytes, as Rocks does.
#
# Volumes of NASes are given in GiB, and what is measured is printed in GiB and MiB, as libvirt and ZFS count: free
# space, volumes, copied bytes. GB is 1000³ bytes, only where the size of a disk is compared with a number that is typed
# in GB.


BYTES_PER_GB = 1000**3
BYTES_PER_GIB = 1024**3
BYTES_PER_MIB = 1024**2
KIB_PER_MB = 1024
BYTES_PER_SECTOR = 512


UNITS = {"MB": (BYTES_PER_MIB, 1024), "GB": (BYTES_PER_GB, 1000), "GiB": (BYTES_PER_GIB, 1024)}
"""The units in which commands take sizes → their bytes, and what K, M, G and T are powers of there."""

_SIZE = re.compile(r"([0-9]{1,18})([KMGT]?)\Z", re.IGNORECASE)
_SIZE_WITH_UNIT = re.compile(r"([0-9]{1,18}[KMGT])(i?B|)\Z", re.IGNORECASE)


def size_bytes(text: str, base: int = 1024) -> Optional[int]:
    """`500000`, `500K`, `20M`, `1G` or `1T` in bytes; None for other text. K, M, G and T are powers of `base`."""
    match = _SIZE.match(text)
    return None if match is None else int(match[1]) * base ** " KMGT".index(match[2].upper() or " ")


def in_unit(name: str, text: str, unit: str) -> str:
    """A size as `4G`, `4GB` or `4GiB`, the value of `name`, as a number of `unit`; other text as it is.

    K, M, G and T, also with B, are powers of 1024 for MB of memory, of 1000 for GB of disks; KiB to TiB of 1024 always.
    UserError for a size that is no whole number of the unit.
    """
    match = _SIZE_WITH_UNIT.match(text)
    if match is None:
        return text
    unit_bytes, base = UNITS[unit]
    ending = match[2].lower()
    size = size_bytes(match[1], 1024 if ending == "ib" else 1000 if (unit, ending) == ("GiB", "b") else base)
    assert size is not None, "the pattern takes sizes only"
    if size % unit_bytes:
        raise UserError(
            f'{name} "{text}" is no whole number of {unit}; the next larger one is {name}={size // unit_bytes + 1}'
        )
    return str(size // unit_bytes)


def size_text(size_bytes: int) -> str:
    """What is measured, for a person: `36.0 GiB`; below one GiB in MiB, for example `1.5 MiB`; never `0.0 MiB`."""
    if size_bytes >= BYTES_PER_GIB:
        return f"{size_bytes / BYTES_PER_GIB:.1f} GiB"
    if size_bytes < BYTES_PER_MIB // 20:
        return f"{size_bytes} bytes"
    return f"{size_bytes / BYTES_PER_MIB:.1f} MiB"


def gigabytes(size_bytes: int) -> str:
    """The size of a disk of a host in the unit in which it is given, for example `36.0 GB`; one below 0.1 GB in MiB."""
    if size_bytes < BYTES_PER_GB // 10:
        return size_text(size_bytes)
    return f"{size_bytes / BYTES_PER_GB:.1f} GB"


def duration(seconds: float) -> str:
    """h:mm:ss; 0:00:00 for a negative duration, which clocks that differ can give."""
    whole = max(0, round(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def rate_text(bytes_per_second: int) -> str:
    """Megabytes per second without a blank, for example `23.4MB/s`."""
    return f"{bytes_per_second / 1e6:.1f}MB/s"
