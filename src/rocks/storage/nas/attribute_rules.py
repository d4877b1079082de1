"""Attributes of an image and of the whole NAS: names and permitted values; pure."""

from __future__ import annotations

from typing import Optional, Union

from rocks.core.errors import UserError
from rocks.core.values import size_bytes, yes_or_no

Value = Union[None, bool, int, str]

_LEAST_RATE = 100 * 1024
"""Below this rate a part of a stream takes longer than the other end waits."""

_LONGEST_PERIOD_SECONDS = 366 * 86400


def attribute_value(name: str, text: Optional[str]) -> Value:
    """The value of an image's attribute; None clears it. UserError for an invalid one."""
    if name == "persistent":
        return True if text is None else yes_or_no(name, text)
    if name in ("frequency", "nextsync"):
        return None if text is None else _seconds(name, text)
    if name in ("uploadspeed", "downloadspeed"):
        return None if text is None else _rate_text(name, text)
    raise UserError(
        f"{name} is no attribute of an image; these are frequency, nextsync, uploadspeed, downloadspeed, persistent"
    )


def global_value(name: str, text: Optional[str]) -> Optional[str]:
    """The value of an attribute of the whole NAS; unknown names are stored as they are, for a site's own tools."""
    if text is None:
        return None
    if name == "frequency":
        return str(_seconds(name, text))
    return _rate_text(name, text) if name in ("uploadspeed", "downloadspeed") else text


def bytes_per_second(text: Optional[str]) -> Optional[float]:
    """A rate as a number; None is no limit."""
    rate = size_bytes(text) if text else None
    return None if rate is None else float(rate)


def _rate_text(name: str, text: str) -> str:
    rate = bytes_per_second(text)
    if rate is None or rate < _LEAST_RATE:
        raise UserError(
            f"{name} is {text!r}; it must be bytes per second, such as 500000, 500K, 20M or 1G, at least 100K, or none"
        )
    return text.upper()


def _seconds(name: str, text: str) -> int:
    limit = _LONGEST_PERIOD_SECONDS if name == "frequency" else 2**40
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= limit:
        what = f"seconds, 1 to {limit}" if name == "frequency" else "seconds since 1970"
        raise UserError(f"{name} is {text!r}; it must be {what}, or none")
    return int(text)
