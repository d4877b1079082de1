"""The format number of stored records; pure."""

from __future__ import annotations

from typing import Any, Dict

from rocks.core.errors import IncoherentError

RECORD_VERSION = 2
"""Raised when a record of this release would be misread by a daemon that ignores what it does not know.

Records of version 1 had no number. A field with a default needs no new version.
"""

_NUMBER = "v"


def numbered(record: Dict[str, Any]) -> Dict[str, Any]:
    """A record as it is stored."""
    return {_NUMBER: RECORD_VERSION, **record}


def unnumbered(record: Any, place: str) -> Dict[str, Any]:
    """A stored record without its version. IncoherentError when a newer release has stored it."""
    if not isinstance(record, dict):
        raise IncoherentError(f"the record of {place} is no JSON object")
    version = record.get(_NUMBER, 1)
    if not isinstance(version, int) or version > RECORD_VERSION:
        raise IncoherentError(
            f"the record of {place} has version {version}, and this daemon reads up to {RECORD_VERSION}: "
            "a newer release has stored it; install that release again"
        )
    return {name: value for name, value in record.items() if name != _NUMBER}
