"""R9: virtual machines are started on many far hosts at once, against one on one of them."""

from __future__ import annotations

from bench import far_hosts
from bench.site import ROCKS, BenchSite
from bench.table import Row, at_most
from bench.timing import run_seconds, typical

ROUNDS = 3
LIMIT = 2.5


def measure(site: BenchSite) -> list[Row]:
    """The far hosts must be up."""
    everybody = far_hosts.guests(site)
    one: list[float] = []
    many: list[float] = []
    for _ in range(ROUNDS):
        one.append(_start(site, everybody[:1]))
        many.append(_start(site, everybody))
    how = (
        f"{typical(many):.2f} s / {typical(one):.2f} s, medians of {ROUNDS} in turns; {len(site.hosts)} real hosts, "
        f"{far_hosts.COUNT - len(site.hosts)} played that answer after {far_hosts.ANSWER_MS} ms"
    )
    what = (
        f"`rocks start host vm` on {far_hosts.COUNT} hosts / on one, {far_hosts.ROUND_TRIP_MS} ms round trip"
    )
    return [at_most("R9", what, typical(many) / typical(one), LIMIT, "", how)]


def _start(site: BenchSite, guests: list[str]) -> float:
    seconds = run_seconds([ROCKS, "start", "host", "vm", *guests], site.environment())
    site.rocks("stop", "host", "vm", *guests)
    return seconds
