"""R10 (command line), R16 and R20 on a generated site of 2,000 hosts and 20,000 virtual machines, and growth to it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import NamedTuple

from bench import large_site
from bench.many_vms import add_cluster
from bench.site import ROCKS, BenchSite
from bench.table import Row, at_most, without_goal
from bench.timing import in_turns, peak_megabytes, run_seconds, typical
from rocks.database.connection import Database

ROUNDS = 5
LIMIT_SECONDS = 0.3
"""For the listing of all virtual machines; another listing may take as long for as many lines, and never needs less."""

SYNC_LIMIT_SECONDS = 2.0
GROWTH_LIMIT = 4.5
GROWTH_WHAT = "the largest growth of these commands from 5,000 to 20,000 machines, each over an empty site"
LARGEST_GROWTH_LIMIT = 5.5
_TO_LARGEST = "from 20,000 to 100,000 machines, each over an empty site"
LARGEST_GROWTH_WHAT = f"the largest growth of these commands {_TO_LARGEST}"
LARGEST_MEMORY_WHAT = f"the largest growth of their memory {_TO_LARGEST}"
_LARGEST, _FULL, _QUARTER, _EMPTY = "bench_largest", "bench_full", "bench_quarter", "cluster"
_LARGEST_ROUNDS = 2
_BARE = "list host vm"
_MANY_LINES = 10_000
"""Growth is that of commands with so many: the times of others over a start are too short for a ratio."""
_PER_LINE = LIMIT_SECONDS / 20_200


class Question(NamedTuple):
    """A command, and the lines that it prints for the large site, or the rows that it reads for them if these are more.

    Memory is in MB, where it has a limit.
    """

    arguments: str
    lines: int
    max_mb: int | None = None


QUESTIONS = (
    Question("list host vm", 20_200, 100),
    Question("list host", 22_001),
    Question("list host interface", 64_000, 150),
    Question("list host attr", 1_290_000, 150),
    Question("list host attr compute-3-7", 70),
    Question("list host compute", 1_500),
    Question("list host vm-vc7-%", 99),
    Question("list cluster", 20_200),
    Question("report host", 6_500),
    Question("report host attr", 1_290_000, 150),
    Question("report host interface compute-3-7", 20),
    Question("report host network", 144_000),
    Question("report host firewall compute", 60_000),
    Question("report host route", 144_000),
    Question("report zones", 6_500),
    Question("report resolv", 2),
    Question("dump", 250_000, 200),
)
"""Lines are those of the generated site, rounded. The files of networks and routes need the rows of all interfaces."""

_LONG = [question.arguments for question in QUESTIONS if question.lines >= _MANY_LINES]


def measure(site: BenchSite) -> list[Row]:
    """In separate databases, so that their rows do not slow other figures."""
    _fill(site, _FULL, large_site.LARGE)
    _fill(site, _QUARTER, large_site.QUARTER)
    answers = [_ask(site, question) for question in QUESTIONS]
    rows = [row for answer in answers for row in _rows_of(site, answer)]
    rows += [_growth(site), *_largest(site)]
    rows += [*_synced(site, _FULL, large_site.LARGE, 1), *_synced(site, _LARGEST, large_site.LARGEST, 5)]
    return [*rows, *add_cluster(site, _FULL, "203.0.250.9", "to 20,000 virtual machines")]


def _fill(site: BenchSite, name: str, size: large_site.Size) -> None:
    site.rocks("update", "database", database=name)
    site.rocks("sync", "vm", "lease", database=name)  # begins the epoch of the machines' leases
    with Database(site.database_settings(name)) as database:
        large_site.fill(database, size)


class _Growth(NamedTuple):
    """What a command took on two sites and on an empty one, in seconds or MB."""

    arguments: str
    large: float
    small: float
    empty: float

    @property
    def ratio(self) -> float:
        return (self.large - self.empty) / (self.small - self.empty)


class _Answer(NamedTuple):
    """Seconds of a command on the large site, and those of a bare start."""

    question: Question
    took: float
    start: float


def _ask(site: BenchSite, question: Question) -> _Answer:
    return _Answer(question, *_in_turns(site, [(question.arguments, _FULL), (_BARE, _EMPTY)]))


def _in_turns(site: BenchSite, runs: Sequence[tuple[str, str]], rounds: int = ROUNDS) -> list[float]:
    """Median seconds of each command in its database."""
    measures = [
        lambda arguments=arguments, name=name: run_seconds(_command(arguments), site.environment(name))
        for arguments, name in runs
    ]
    return [typical(seconds) for seconds in in_turns(measures, rounds)]


def _command(arguments: str) -> list[str]:
    return [ROCKS, *arguments.split()]


def _growth(site: BenchSite) -> Row:
    """Each command less its own time on an empty site."""
    return _growth_row(
        GROWTH_WHAT, GROWTH_LIMIT, "s", [_seconds(site, one, _FULL, _QUARTER) for one in _LONG]
    )


def _seconds(site: BenchSite, arguments: str, large: str, small: str, rounds: int = ROUNDS) -> _Growth:
    """Median seconds, in turns."""
    found = _in_turns(site, [(arguments, name) for name in (large, small, _EMPTY)], rounds)
    return _Growth(arguments, *found)


def _megabytes(site: BenchSite, arguments: str, large: str, small: str) -> _Growth:
    """Peak RSS, once."""
    command = _command(arguments)
    return _Growth(
        arguments, *(peak_megabytes(command, site.environment(name)) for name in (large, small, _EMPTY))
    )


def _largest(site: BenchSite) -> list[Row]:
    """Time and memory of the listings and reports on five times the large site."""
    _fill(site, _LARGEST, large_site.LARGEST)
    times = [_seconds(site, one, _LARGEST, _FULL, _LARGEST_ROUNDS) for one in _LONG]
    sizes = [_megabytes(site, one, _LARGEST, _FULL) for one in _LONG]
    return [
        _growth_row(LARGEST_GROWTH_WHAT, LARGEST_GROWTH_LIMIT, "s", times),
        _growth_row(LARGEST_MEMORY_WHAT, LARGEST_GROWTH_LIMIT, "MB", sizes),
    ]


def _growth_row(what: str, limit: float, unit: str, found: Sequence[_Growth]) -> Row:
    """The command that grows most, and what it took on both sites."""
    most = max(found, key=lambda one: one.ratio)
    how = f"`rocks {most.arguments}`: {most.large - most.empty:.2f} {unit} / {most.small - most.empty:.2f} {unit}"
    return at_most(
        "R10",
        what,
        most.ratio,
        limit,
        "",
        f"{how}; of {len(found)} commands with {_MANY_LINES:,} lines and more",
    )


def _rows_of(site: BenchSite, answer: _Answer) -> list[Row]:
    question, took, start = answer.question, answer.took, answer.start
    limit = max(LIMIT_SECONDS, _PER_LINE * question.lines)
    what = f"`rocks {question.arguments}` on the large site"
    how = f"{took:.2f} s, {took / start:.1f} times a bare start; medians of {ROUNDS}, in turns"
    rows = [at_most("R10", f"{what}, over bare start", took - start, limit, "s", how)]
    if question.max_mb is not None:
        bare_mb = peak_megabytes(_command(_BARE), site.environment())
        how = f"peak RSS; {bare_mb:.0f} MB for `rocks list host vm` on an empty site"
        peak_mb = peak_megabytes(_command(question.arguments), site.environment(_FULL))
        rows.append(at_most("R10", f"memory of {what}", peak_mb, question.max_mb, "MB", how))
    return rows


def _synced(site: BenchSite, name: str, size: large_site.Size, times: int) -> list[Row]:
    """The files of all hosts are written once, then after one change; the limit is so many times that of 2,000."""
    folder = site.folder / "services"
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("boot", "dns"):
        (folder / part).mkdir(mode=0o755, parents=True)
    environment = {
        **site.environment(name),
        "ROCKS_HOSTS_FILE": str(folder / "hosts"),
        "ROCKS_DNS_FOLDER": str(folder / "dns"),
        "ROCKS_DNS_RUN_FOLDER": str(folder / "dns-run"),
        "ROCKS_BOOT_FOLDER": str(folder / "boot"),
        "ROCKS_BOOT_RUN_FOLDER": str(folder / "boot-run"),
    }
    rows = []
    for what, first, then in (
        ("boot files", "set host boot compute-3-7 action=install", "set host boot compute-3-7 action=os"),
        ("names", "sync dns", "add host alias compute-3-7 name=other-name"),
    ):
        seconds = run_seconds([ROCKS, *first.split()], environment)
        all_new = f"`rocks {first}`: the {what} of {size.hosts:,} hosts, all new"
        rows.append(without_goal("R20", all_new, f"{seconds:.2f} s", "the whole command, once"))
        seconds = run_seconds([ROCKS, *then.split()], environment)
        changed = f"`rocks {then}`: the {what} of {size.hosts:,} hosts, one has changed"
        limit = SYNC_LIMIT_SECONDS * times
        rows.append(at_most("R20", changed, seconds, limit, "s", "the whole command, once"))
    return rows
