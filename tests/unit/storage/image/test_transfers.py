"""What is sent, from two histories and what a cut receive left."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rocks.storage.image import transfers
from rocks.storage.image.transfers import (
    Diverged,
    Job,
    Limits,
    Point,
    SendPlan,
    SendStep,
    Snapshot,
    Token,
    expired,
    plan_send,
)
from tests.unit.storage.records import NOW, record

A, B, C = Point("a", "1", 10), Point("b", "2", 20), Point("c", "3", 30)
MARK = Point("cursor", "1", 10, is_bookmark=True)


def on_nas(*points: Point) -> list[Point]:
    """The same snapshots as another pool numbers them."""
    return [Point(point.name, point.guid, number) for number, point in enumerate(points)]


@pytest.mark.parametrize(
    ("sender", "receiver", "to", "token", "expected"),
    [
        ([A], [], "1", None, SendPlan((SendStep("full", A),))),
        ([A, B], [A], "2", None, SendPlan((SendStep("snapshot", B, A),))),
        ([A, B, C], [A], "3", None, SendPlan((SendStep("snapshot", C, A),))),
        ([MARK, B], [A], "2", None, SendPlan((SendStep("bookmark", B, MARK),))),
        ([A, MARK, B], [A], "2", None, SendPlan((SendStep("snapshot", B, A),))),
        ([A, B], [A, B], "2", None, SendPlan()),
        ([A, B], [A, B], "2", Token("9", "2", "t"), SendPlan((), aborts_partial=True)),
        ([A, B], [A], "2", Token("2", "1", "t"), SendPlan((SendStep("resume", B, A, "t"),))),
        ([A], [], "1", Token("1", None, "t"), SendPlan((SendStep("resume", A, None, "t"),))),
        (
            [A, B, C],
            [A],
            "3",
            Token("2", "1", "t"),
            SendPlan((SendStep("resume", B, A, "t"), SendStep("snapshot", C, B))),
        ),
        (
            [A, C],
            [A],
            "3",
            Token("2", "1", "t"),
            SendPlan((SendStep("snapshot", C, A),), aborts_partial=True),
        ),
        (
            [A, B],
            [A],
            "2",
            Token("2", None, "t"),
            SendPlan((SendStep("snapshot", B, A),), aborts_partial=True),
        ),
        (
            [A, B, C],
            [A],
            "2",
            Token("3", "1", "t"),
            SendPlan((SendStep("snapshot", B, A),), aborts_partial=True),
        ),
    ],
)
def test_plan(
    sender: list[Point], receiver: list[Point], to: str, token: Token | None, expected: SendPlan
) -> None:
    """Full, from a snapshot, from a bookmark, nothing at all, resumed, resumed and on, begun anew."""
    assert plan_send(sender, on_nas(*receiver), to, token) == expected


OURS = Point("img-1-2-20260131T235959Z", "3", 30)


@pytest.mark.parametrize(
    ("sender", "receiver", "to", "message"),
    [
        ([A, B], [A, OURS], "2", f"{OURS.name}, which the sender has not after a"),
        ([A, B], [A, C, OURS], "2", f"c, {OURS.name}, which the sender has not after a"),
        ([B], [C], "2", "the two have no snapshot in common"),
        ([A, B], [A, B], "1", "already has a, and then b, which the sender lacks"),
        ([A], [A], "2", "no snapshot 2 any more"),
        ([MARK], [], "1", "no snapshot 1 any more"),
        ([A, B, C], [C], "2", "newer than b"),
    ],
)
def test_diverged(sender: list[Point], receiver: list[Point], to: str, message: str) -> None:
    """Nothing is sent and nothing rolled back; the text names the snapshots."""
    found = plan_send(sender, on_nas(*receiver), to)
    assert isinstance(found, Diverged) and message in found.text and not found.waits


@pytest.mark.parametrize("older", [(), (OURS,), (Point("golden", "7", 5),)], ids=["none", "ours", "theirs"])
def test_snapshots_of_another_program_are_waited_for(older: tuple[Point, ...]) -> None:
    """Those behind the newest common one, whatever the receiver retains before it: that is not named."""
    found = plan_send([A, B], on_nas(*older, A, C), "2")
    assert isinstance(found, Diverged) and found.waits
    assert "the snapshots c of another program after a, the newest that both have" in found.text


# When transfers start, in which order, and how long a failed step waits.


LIMITS = Limits(seeds=8, pulls=8)


def test_pauses_grow_to_five_minutes() -> None:
    """1, 2, 4 … 300 s."""
    assert [transfers.retry_delay(tries) for tries in (1, 2, 3, 9, 10, 1000)] == [1, 2, 4, 256, 300, 300]


def test_priorities_and_ageing() -> None:
    """A copy goes before a periodic pull, unless that has waited twenty minutes longer; returns count as running."""
    seed, pull = Job("1", "vmh1", "seed", NOW), Job("2", "vmh2", "pull", NOW)
    assert transfers.choose([pull, seed], [], LIMITS, NOW) == (seed, pull)
    old = Job("2", "vmh2", "pull", NOW - 1200)
    assert transfers.choose([old, seed], [], LIMITS, NOW) == (old, seed)
    busy = [Job("3", "vmh1", "return", 0), Job("4", "vmh1", "return", 0)]
    assert transfers.choose([pull, seed], busy, LIMITS, NOW) == (pull,)
    assert transfers.choose([pull, seed], busy, Limits(seeds=8, pulls=2), NOW) == ()
    assert transfers.choose([seed, Job("5", "vmh2", "seed", NOW)], [], Limits(seeds=1, pulls=8), NOW) == (
        seed,
    )


def test_what_an_image_waits_for() -> None:
    """A copy when it is mapped, a pull when it is due or asked for."""
    mapped, local = record("mapped"), record("local")
    assert transfers.job_of(mapped, NOW, NOW, NOW) == Job("1", "vmh1", "seed", NOW)
    assert transfers.job_of(local, NOW, NOW + 1, NOW) is None
    assert transfers.job_of(local, NOW, NOW, NOW) == Job("1", "vmh1", "pull", NOW)
    assert transfers.next_pull(NOW, None) == NOW + 300 and transfers.next_pull(NOW, 60) == NOW + 60
    seeding = transfers.running_of(record("seeding"))
    assert seeding is not None and seeding.kind == "seed" and transfers.running_of(local) is None


# Which snapshots the NAS destroys in time.


def test_f12_retention_touches_only_its_own() -> None:
    """Foreign snapshots neither count nor go, nor those with clones or holds, nor what is needed."""
    ours = [
        Snapshot(f"img-1-{number}-20260101T000000Z", str(number), number, 3600 * number // 10, False, False)
        for number in range(100)
    ]
    ours[5] = replace(ours[5], has_clones=True)
    ours[6] = replace(ours[6], has_holds=True)
    foreign = Snapshot("before-upgrade", "f", 7, 0, False, False)
    odd = Snapshot("img-golden", "g", 8, 0, False, False)
    gone = expired([*ours, foreign, odd], frozenset({"8"}))
    guids = {snapshot.guid for snapshot in gone}
    assert guids and not guids & {"5", "6", "8", "f", "g", "97", "98", "99"}
