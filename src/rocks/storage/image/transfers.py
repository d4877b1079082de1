"""Transfers: which streams bring a snapshot to the receiver, when they start and are tried again; pure."""

from __future__ import annotations

from typing import Dict, FrozenSet, List, Literal, Optional, Sequence, Set, Tuple

from rocks.core.dataclasses import dataclass
from rocks.core.errors import FAMILIES
from rocks.storage.image.image import Image
from rocks.storage.image.names import has_automatic_name
from rocks.storage.image.states import LOCAL, MAPPED, PULLING, RETURNING, SEEDING

How = Literal["full", "snapshot", "bookmark", "resume"]


@dataclass(frozen=True)
class Point:
    """A snapshot, or on the sender a bookmark, oldest first by `createtxg`."""

    name: str
    guid: str
    createtxg: int
    is_bookmark: bool = False


@dataclass(frozen=True)
class Token:
    """The stream that an interrupted receive can resume."""

    to_guid: str
    from_guid: Optional[str]
    text: str


@dataclass(frozen=True)
class SendStep:
    """One stream: up to the snapshot `to`, from nothing, from a snapshot or bookmark, or resumed."""

    how: How
    to: Point
    start: Optional[Point] = None
    token: Optional[str] = None


@dataclass(frozen=True)
class SendPlan:
    """The streams, in order; none when nothing is missing. `aborts_partial`: first drop a partial receive."""

    steps: Tuple[SendStep, ...] = ()
    aborts_partial: bool = False


@dataclass(frozen=True)
class Diverged:
    """The receiver has snapshots that the sender has not: nothing is sent and nothing is rolled back.

    `waits`: all of them are of another program, such as one that copies the pool; the transfer goes on without them.
    """

    text: str
    waits: bool = False


def plan_send(
    sender: Sequence[Point], receiver: Sequence[Point], to_guid: str, token: Optional[Token] = None
) -> SendPlan | Diverged:
    """The streams after which the snapshot `to_guid` is the receiver's newest.

    `sender` are its snapshots and bookmarks, `receiver` its snapshots, in any order. Snapshots between the common one
    and the last are not sent, except one whose interrupted stream can be resumed.
    """
    to = _find(sender, to_guid, snapshots_only=True)
    if to is None:
        return Diverged(f"the sender has no snapshot {to_guid} any more")
    theirs = sorted(receiver, key=lambda point: point.createtxg)
    if theirs and theirs[-1].guid == to_guid:
        return SendPlan(aborts_partial=token is not None)
    if any(point.guid == to_guid for point in theirs):
        return Diverged(
            f"the receiver already has {to.name}, and then {theirs[-1].name}, which the sender lacks"
        )
    start = None
    if theirs:
        start = _find(sender, theirs[-1].guid)
        if start is None:
            return _divergence(sender, theirs)
        if start.createtxg > to.createtxg:
            return Diverged(f"the receiver has {theirs[-1].name}, which is newer than {to.name}")
    return _with_token(sender, start, to, token)


def _with_token(
    sender: Sequence[Point], start: Optional[Point], to: Point, token: Optional[Token]
) -> SendPlan:
    if token is None:
        return SendPlan((_stream(start, to),))
    cut = _find(sender, token.to_guid, snapshots_only=True)
    expected = None if start is None else start.guid
    if cut is None or token.from_guid != expected or cut.createtxg > to.createtxg:
        return SendPlan((_stream(start, to),), aborts_partial=True)
    resumed = SendStep("resume", cut, start, token.text)
    if cut.guid == to.guid:
        return SendPlan((resumed,))
    return SendPlan((resumed, _stream(cut, to)))


def _stream(start: Optional[Point], to: Point) -> SendStep:
    if start is None:
        return SendStep("full", to)
    return SendStep("bookmark" if start.is_bookmark else "snapshot", to, start)


def _find(points: Sequence[Point], guid: str, snapshots_only: bool = False) -> Optional[Point]:
    """The snapshot of that guid, else a bookmark of it."""
    found = [point for point in points if point.guid == guid and not (snapshots_only and point.is_bookmark)]
    return min(found, key=lambda point: point.is_bookmark) if found else None


def _divergence(sender: Sequence[Point], theirs: Sequence[Point]) -> Diverged:
    """`theirs`: oldest first. Older ones than the newest that both have are in nobody's way."""
    known = {point.guid for point in sender}
    common = [number for number, point in enumerate(theirs) if point.guid in known]
    if not common:
        names = ", ".join(point.name for point in theirs)
        return Diverged(
            f"the receiver has {names}, which the sender has not; the two have no snapshot in common"
        )
    later = [point.name for point in theirs[common[-1] + 1 :]]
    after = f"after {theirs[common[-1]].name}, the newest that both have"
    if not any(has_automatic_name(name) for name in later):
        return Diverged(
            f"waits: the receiver's volume has the snapshots {', '.join(later)} of another program {after}, and "
            "takes no changes while they exist; `zfs destroy` them there, then it goes on",
            waits=True,
        )
    return Diverged(f"the receiver has {', '.join(later)}, which the sender has not {after}")


# --- how many bytes a receiver takes from a sender, which may send anything ------------------------------------------


SMALLEST_BLOCK_BYTES = 512
"""The smallest volblocksize."""

_RECORD_BYTES = 312
"""A record of a stream, of which each block has one."""

_SLACK_BYTES = 16 * 2**20
_MOVE_FACTOR = 4
"""ZFS counts 128 bytes for a block that is embedded in its pointer; a stream has a record and the block's data."""

_MOVE_SLACK_BYTES = 2**30


def largest_stream_bytes(volume_bytes: int, block_bytes: int = SMALLEST_BLOCK_BYTES) -> int:
    """The largest size of a stream of one snapshot of a volume: every block once, and its record."""
    blocks = -(-volume_bytes // block_bytes)
    return volume_bytes + blocks * _RECORD_BYTES + _SLACK_BYTES


def largest_move_bytes(stated_bytes: int, present_bytes: int) -> int:
    """The largest size of the rest of an image.

    Its snapshots take `stated_bytes` at the sender, and `present_bytes` are here already.
    """
    return max(0, _MOVE_FACTOR * stated_bytes + _MOVE_SLACK_BYTES - present_bytes)


# --- when transfers start, when a failed step is tried again, when changes are pulled: the time is an argument -------


AGEING_SECONDS = 600
"""A transfer that has waited this long takes precedence over one of the next kind."""

FIRST_DELAY_SECONDS = 1
LONGEST_DELAY_SECONDS = 300
"""Between two tries: twice as long after each failure."""

MAX_TRIES = 5
"""The most tries of a step that fails; a busy or silent machine is waited for without limit."""

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


# --- which automatic snapshots may be destroyed: the last few, then hourly and daily ones stay -----------------------


LAST_SNAPSHOTS, HOURLY_SNAPSHOTS, DAILY_SNAPSHOTS = 3, 24, 7
"""How many automatic snapshots stay: the newest, and one for each of so many hours and days."""

_HOUR = 3600
_DAY = 86400


@dataclass(frozen=True)
class Snapshot:
    """A snapshot on the NAS."""

    name: str
    guid: str
    createtxg: int
    created_seconds: int
    has_holds: bool
    has_clones: bool


def expired(snapshots: Sequence[Snapshot], needed_guids: FrozenSet[str]) -> Tuple[Snapshot, ...]:
    """The snapshots that may be destroyed, oldest first.

    These always stay: foreign snapshots, snapshots with holds or clones, the newest of all, and those in
    `needed_guids`: the base and the snapshots of clean copies on hosts. Foreign snapshots do not count.
    """
    ordered = sorted(snapshots, key=lambda snapshot: snapshot.createtxg)
    # by its name: a stream has no property that marks automatic snapshots
    automatic = [one for one in ordered if has_automatic_name(one.name)]
    needed = {one.guid for one in ordered[-1:]} | _grid(automatic) | needed_guids
    return tuple(
        one for one in automatic if one.guid not in needed and not one.has_holds and not one.has_clones
    )


def _grid(automatic: Sequence[Snapshot]) -> Set[str]:
    retained = {one.guid for one in automatic[-LAST_SNAPSHOTS:]}
    for seconds, count in ((_HOUR, HOURLY_SNAPSHOTS), (_DAY, DAILY_SNAPSHOTS)):
        newest: Dict[int, str] = {}
        for one in automatic:
            newest[one.created_seconds // seconds] = one.guid
        retained |= {newest[period] for period in sorted(newest)[-count:]}
    return retained
