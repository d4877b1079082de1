"""What is sent, from two histories and what a cut receive left."""

import pytest

from rocks.storage.image.transfers import Diverged, Point, SendPlan, SendStep, Token, plan_send

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
