"""A line of the report of `rocks check site`. Pure."""

from __future__ import annotations

from typing import NamedTuple

OK, WRONG, MISSING = "ok", "wrong", "missing"


class SiteCheck(NamedTuple):
    """The subject, `OK`, `WRONG` or `MISSING`, and what was found; if it is not ok, also the command to run."""

    subject: str
    result: str
    detail: str
