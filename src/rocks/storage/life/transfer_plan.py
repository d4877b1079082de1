"""The streams that bring a snapshot to the receiver, planned by guid from the common snapshots; pure.

The sender may start from a snapshot or a bookmark; the receiver must have the snapshot itself. Names only show
which snapshots are of another program.
"""

from __future__ import annotations

from typing import Literal, Optional, Sequence, Tuple

from rocks.core.dataclasses import dataclass
from rocks.storage.life.names import has_automatic_name

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
