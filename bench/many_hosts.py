"""R9: virtual machines are started, and their states listed, on many far hosts, against one on one of them.

And eight on each host against one on each, where all hosts are played: so many real ones would measure QEMU.
"""

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
    rows.append(_eight_to_one(site))
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


def _eight_to_one(site: BenchSite) -> Row:
    few, many = (far_hosts.played_guests(site, count) for count in (1, far_hosts.PER_PLAYED_HOST))
    one, eight = in_turns([lambda: _start(site, few), lambda: _start(site, many)], ROUNDS)
    how = f"{typical(eight):.2f} s / {typical(one):.2f} s, medians of {ROUNDS} in turns; all hosts are played"
    what = f"`rocks start host vm` of {len(many)} machines on {len(few)} hosts / of {len(few)} on them"
    return at_most("R9", what, typical(eight) / typical(one), LIMIT, "", how)


def _start(site: BenchSite, guests: list[str]) -> float:
    seconds = run_seconds([ROCKS, "start", "host", "vm", *guests], site.environment())
    site.rocks("stop", "host", "vm", *guests)
    return seconds


def _status(site: BenchSite, guests: list[str]) -> float:
    return run_seconds([ROCKS, "list", "host", "vm", *guests, "status=yes"], site.environment())
