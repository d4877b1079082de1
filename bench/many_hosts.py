"""R9: virtual machines are started, and their states listed, on many far hosts, against one on one of them."""

from __future__ import annotations

from collections.abc import Callable

from bench import ansible_starts, far_hosts
from bench.site import ROCKS, BenchSite
from bench.table import Row, at_most
from bench.timing import in_turns, run_seconds, typical

ROUNDS = 3
LIMIT = 2.5


def measure(site: BenchSite) -> list[Row]:
    """The far hosts must be up."""
    everybody = far_hosts.guests(site)
    figures = ("rocks start host vm", _start), ("rocks list host vm status=yes", _status)
    rows = [_many_to_one(site, everybody, what, measured) for what, measured in figures]
    return [*rows, ansible_starts.measure(site, everybody[: len(site.hosts)])]


def _many_to_one(
    site: BenchSite, everybody: list[str], what: str, measured: Callable[[BenchSite, list[str]], float]
) -> Row:
    one, many = in_turns([lambda: measured(site, everybody[:1]), lambda: measured(site, everybody)], ROUNDS)
    how = (
        f"{typical(many):.2f} s / {typical(one):.2f} s, medians of {ROUNDS} in turns; {len(site.hosts)} real hosts, "
        f"{far_hosts.COUNT - len(site.hosts)} played that answer after {far_hosts.ANSWER_MS} ms"
    )
    where = f"on {far_hosts.COUNT} hosts / on one, {far_hosts.ROUND_TRIP_MS} ms round trip"
    return at_most("R9", f"`{what}` {where}", typical(many) / typical(one), LIMIT, "", how)


def _start(site: BenchSite, guests: list[str]) -> float:
    seconds = run_seconds([ROCKS, "start", "host", "vm", *guests], site.environment())
    site.rocks("stop", "host", "vm", *guests)
    return seconds


def _status(site: BenchSite, guests: list[str]) -> float:
    return run_seconds([ROCKS, "list", "host", "vm", *guests, "status=yes"], site.environment())
