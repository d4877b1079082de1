"""A line of the reports of `rocks check site` and other checks. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from rocks.core.errors import RocksError

OK, WRONG, MISSING = "ok", "wrong", "missing"


class SiteCheck(NamedTuple):
    """The subject, `OK`, `WRONG` or `MISSING`, and what was found; if it is not ok, also the command to run."""

    subject: str
    result: str
    detail: str


def run_checks(checks: Mapping[str, Callable[[], Iterable[SiteCheck]]]) -> Iterator[SiteCheck]:
    """The lines of the checks by subject; an error in one is its result."""
    for subject, check in checks.items():
        try:
            yield from check()
        except RocksError as error:
            yield SiteCheck(subject, WRONG, str(error))
