"""When transfers start, when a failed step is tried again, when changes are pulled; pure: the time is an argument."""

from __future__ import annotations

from typing import Dict, List, Literal, Optional, Sequence, Tuple

from rocks.core.dataclasses import dataclass
from rocks.core.errors import FAMILIES
from rocks.storage.life.image import Image
from rocks.storage.life.states import LOCAL, MAPPED, PULLING, RETURNING, SEEDING

AGEING_SECONDS = 600
"""A transfer that has waited this long takes precedence over one of the next kind."""

FIRST_DELAY_SECONDS = 1
LONGEST_DELAY_SECONDS = 300
"""Between two tries: twice as long after each failure."""

MAX_TRIES = 5
"""Of a step that fails; a busy or silent machine is waited for without limit."""

DEFAULT_PULL_SECONDS = 300
"""How often a NAS pulls a snapshot of what a machine has written on its host, where the map names no other period."""

HOST_TRANSFERS = 2
"""Transfers of a NAS with one host at once."""

Kind = Literal["return", "seed", "requested pull", "pull"]
_PRIORITIES: Dict[Kind, int] = {"seed": 2, "requested pull": 2, "pull": 1}
"""A return never waits: it needs none."""


@dataclass(frozen=True)
class Limits:
    """How many transfers at once: seeds of this NAS, its pulls (returns are among them), and both with one host."""

    seeds: int
    pulls: int
    per_host: int = HOST_TRANSFERS


@dataclass(frozen=True)
class Job:
    """A transfer that could start, since `since` (UNIX seconds)."""

    image_id: str
    host: str
    kind: Kind
    since: int


def retry_delay(tries: int) -> int:
    """Seconds to wait after the `tries`-th failure in a row: 1, 2, 4 … 300."""
    return min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS << min(max(tries, 1) - 1, 16))


def has_no_more_tries(family: str, faults: int) -> bool:
    """Whether a failed step is not tried again, after `faults` failures in a row that were no mere waiting.

    A busy or unreachable machine is awaited without limit; contradicting facts are never tried again.
    """
    if family == "incoherent":
        return True
    return faults >= MAX_TRIES and not FAMILIES[family]


def next_pull(last_pull: int, period_seconds: Optional[int]) -> int:
    """When changes are due to be pulled again; a period of 0 or None takes the default."""
    return last_pull + (period_seconds or DEFAULT_PULL_SECONDS)


def job_of(image: Image, since: int, pull_due_at: int, now_seconds: int) -> Optional[Job]:
    """The transfer that the image waits for now; None without one.

    `since` is the time at which it began to wait, `pull_due_at` that of its periodic pull; both UNIX seconds.
    """
    if image.owner is None or (image.retry_at is not None and image.retry_at > now_seconds):
        return None
    if image.state == MAPPED:
        return Job(image.image_id, image.owner, "seed", since)
    if image.state == LOCAL and image.persistent:
        if image.pull_ids:
            return Job(image.image_id, image.owner, "requested pull", since)
        if image.pending_name is not None:
            # its transfer was cut: it goes on after the pause, not after the period
            return Job(image.image_id, image.owner, "pull", since)
        if pull_due_at <= now_seconds:
            return Job(image.image_id, image.owner, "pull", pull_due_at)
    return None


def running_of(image: Image) -> Optional[Job]:
    """The running transfer of an image, which counts against the limits; None without one."""
    if image.owner is None or image.work is None:
        return None
    if image.state == SEEDING:
        return Job(image.image_id, image.owner, "seed", 0)
    if image.state == PULLING:
        return Job(image.image_id, image.owner, "pull", 0)
    if image.state == RETURNING and image.work.step == "return":
        return Job(image.image_id, image.owner, "return", 0)
    return None


def choose(
    waiting: Sequence[Job], running: Sequence[Job], limits: Limits, now_seconds: int
) -> Tuple[Job, ...]:
    """The waiting transfers that start now, in order.

    By priority, which grows by one for every ten minutes of waiting; then by age. A final return starts at once and
    counts as running: it never waits here, but others wait for it.
    """
    started: List[Job] = []
    busy = list(running)
    for job in sorted(waiting, key=lambda job: (-_rank(job, now_seconds), job.since, job.image_id)):
        if _has_slot(job, busy, limits):
            started.append(job)
            busy.append(job)
    return tuple(started)


def _rank(job: Job, now_seconds: int) -> int:
    return _PRIORITIES[job.kind] + max(0, now_seconds - job.since) // AGEING_SECONDS


def _has_slot(job: Job, busy: Sequence[Job], limits: Limits) -> bool:
    is_seed = job.kind == "seed"
    same_way = sum((other.kind == "seed") == is_seed for other in busy)
    same_host = sum(other.host == job.host for other in busy)
    return same_way < (limits.seeds if is_seed else limits.pulls) and same_host < limits.per_host
