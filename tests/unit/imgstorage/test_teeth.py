"""The random lives find what is wrong: each spoiled row, step or sequence is caught within a few lives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from rocks.imgstorage.model import changes, effects, events, host_actions, host_effects, machine, steps
from rocks.imgstorage.model.events import StepDone, StepFailed
from rocks.imgstorage.model.host_actions import HostImage
from rocks.imgstorage.model.image import Decision, Image, Refusal
from rocks.imgstorage.model.machine import Entries
from rocks.imgstorage.model.states import STATES
from rocks.imgstorage.model.table import Row
from tests.unit.imgstorage.script import live_with
from tests.unit.imgstorage.test_every_moment import STRIKES
from tests.unit.imgstorage.test_life import live_long
from tests.unit.imgstorage.world import World

RANDOM_LIVES = 100
Change = Callable[[Image, Any, int], Decision]
Sequence = Callable[[Any, HostImage, int], Any]


def spoiled(state: str, event: type, change: Change, **wanted: Any) -> Entries:
    """The table with another change in the row that is meant; it may lead elsewhere."""
    entries = {pair: list(found) for pair, found in machine.entries_by_pair().items()}
    found = entries[(state, event)]  # type: ignore[index]
    for number, entry in enumerate(found):
        if isinstance(entry, Row) and all(getattr(entry, key) == value for key, value in wanted.items()):
            found[number] = replace(entry, change=change, to=_leads_to(entry, change))
            return entries
    raise AssertionError("there is no such row")


def _leads_to(entry: Row, change: Change) -> Any:
    return getattr(change, "leads_to", entry.to)


def leads_to(state: str) -> Callable[[Change], Change]:
    """Say where a wrong change leads."""

    def mark(change: Change) -> Change:
        change.leads_to = state  # type: ignore[attr-defined]
        return change

    return mark


# --- wrong rows ----------------------------------------------------------------------------------------------------


def no_final_snapshot(image: Image, event: Any, now: int) -> Decision:
    """The copy is taken for clean as it is."""
    return changes.begin_leave(image, event, now)


@leads_to("unmapped")
def pull_taken_for_return(image: Image, event: Any, now: int) -> Decision:
    """F1: the pull that was running ends the mapping."""
    return changes.has_left(replace(image, work=None), event, now)


def export_dropped_before_switch(image: Image, event: Any, now: int) -> Decision:
    """The guest still reads from it."""
    decision = changes.begin_switch(image, event, now)
    assert decision.image is not None and decision.image.work is not None and image.target is not None
    work = decision.image.work
    both = (effects.EnsureExportGone(image.target), *work.effects)
    return replace(decision, image=replace(decision.image, work=replace(work, effects=both)), effects=both)


def grant_back_without_undo(image: Image, event: Any, now: int) -> Decision:
    """What the host has half made stays there."""
    return changes.give_back(image, event, now)


def no_new_epoch(image: Image, event: Any, now: int) -> Decision:
    """A host that had it before may go on speaking."""
    decision = changes.begin_map(image, event, now)
    assert decision.image is not None and decision.image.work is not None
    number = f"{image.epoch}-{decision.image.sequence}"
    work = replace(decision.image.work, work_id=number)
    return replace(decision, image=replace(decision.image, epoch=image.epoch, work=work))


def never_sets_aside(image: Image, event: Any, now: int) -> Decision:
    """F3: what lies there is in the way, whatever it is."""
    decision = changes.attach_overlay(image, event, now)
    assert decision.image is not None and decision.image.work is not None
    work = decision.image.work
    asked = work.effects[-1]
    assert isinstance(asked, effects.AskHost) and isinstance(asked.request, effects.MapOverlay)
    wrong = (*work.effects[:-1], replace(asked, request=replace(asked.request, sets_aside=False)))
    return replace(decision, image=replace(decision.image, work=replace(work, effects=wrong)), effects=wrong)


def never_tries_again(image: Image, event: Any, now: int) -> Decision:
    """F2: what failed is forgotten."""
    return Decision(replace(image, work=None))


def old_holds_stay(image: Image, event: Any, now: int) -> Decision:
    """Every map leaves a hold."""
    back = changes._fresh(changes._enter(image, "returning"))
    back = replace(back, final_guid=event.facts.guid)
    found = steps.home(back, event.facts.guid, image.pending_name or "")
    wrong = tuple(one for one in found if not isinstance(one, effects.EnsureOnlyHold))
    return changes._start(back, "home", wrong)


def home_without_a_look(image: Image, event: Any, now: int) -> Decision:
    """What the host says is believed."""
    decision = changes.begin_home(image, event, now)
    assert decision.image is not None and decision.image.work is not None
    wrong = tuple(one for one in decision.effects if isinstance(one, effects.EnsureLease))
    return replace(decision, image=replace(decision.image, work=replace(decision.image.work, effects=wrong)))


ROWS: dict[str, Entries] = {
    "no final snapshot": spoiled("returning", StepDone, no_final_snapshot, step="detach", starts="return"),
    "a pull taken for the return": spoiled(
        "pulling", StepDone, pull_taken_for_return, step="settle", to="returning"
    ),
    "export dropped before the switch": spoiled(
        "seeding", StepDone, export_dropped_before_switch, to="switching"
    ),
    "a failed map is not undone": spoiled("mapping", StepFailed, grant_back_without_undo, step="attach"),
    "no new epoch for a map": spoiled("unmapped", events.Map, no_new_epoch),
    "home without a look": spoiled("returning", StepDone, home_without_a_look, step="return"),
    "a failed return is not tried again": spoiled(
        "returning", StepFailed, never_tries_again, step="return", to="returning"
    ),
    "old holds stay": spoiled("returning", StepDone, old_holds_stay, step="return"),
}


# --- wrong sequences of a host -------------------------------------------------------------------------------------


def without(kind: type) -> Sequence:
    """The sequences without one effect."""

    def sequence(request: Any, known: HostImage, epoch: int) -> Any:
        found = host_actions.sequence_for(request, known, epoch)
        return (
            found if isinstance(found, Refusal) else tuple(one for one in found if not isinstance(one, kind))
        )

    return sequence


def exchanged(first: type, second: type) -> Sequence:
    """The sequences with two effects exchanged."""

    def sequence(request: Any, known: HostImage, epoch: int) -> Any:
        found = host_actions.sequence_for(request, known, epoch)
        if isinstance(found, Refusal):
            return found
        kinds = [type(one) for one in found]
        if first not in kinds or second not in kinds:
            return found
        swapped = list(found)
        one, other = kinds.index(first), kinds.index(second)
        swapped[one], swapped[other] = swapped[other], swapped[one]
        return tuple(swapped)

    return sequence


SEQUENCES: dict[str, Sequence] = {
    "temp-write volume dropped unseen": without(host_effects.RequireTempWriteEmpty),
    "looked at before the device has gone": exchanged(
        host_effects.EnsureDeviceGone, host_effects.RequireTempWriteEmpty
    ),
    "not waited for the merge": without(host_effects.WaitMerged),
    "logged out before the switch": exchanged(host_effects.EnsureLocalOrigin, host_effects.EnsureSessionGone),
    "linear recorded before all is merged": exchanged(host_effects.WaitMerged, host_effects.RecordStage),
    "the stage is not recorded before the switch": without(host_effects.RecordStage),
    "the temp-write volume stays": without(host_effects.EnsureTempWriteGone),
    "the session stays": without(host_effects.EnsureSessionGone),
    "the seed is not settled": without(host_effects.EnsureSeedSettled),
}


SPOILED_HOSTS: dict[str, Sequence] = {"home without a look": without(host_effects.SendSnapshot)}
"""Rows that only do harm with a host that is wrong too."""

DEFENDED: dict[str, tuple[Entries, Sequence]] = {
    "a host says that it has sent, and has not": (
        machine.entries_by_pair(),
        without(host_effects.SendSnapshot),
    ),
    "a strange copy is not set aside": (
        spoiled("mapping", StepDone, never_sets_aside, step="prepare", guard=None),
        host_actions.sequence_for,
    ),
}
"""What a second defence catches: such an image is held, or not mapped, and nothing is lost."""


def lives_until_caught(make_world: Callable[[], World]) -> int:
    """How many lives it took; fails when none of them found anything."""
    count = 0
    for live in _lives():
        count += 1
        try:
            live(make_world())
        except Exception as error:  # an assertion of the world, or of the machine about itself
            assert not isinstance(error, (AttributeError, NameError)), "the spoiled row itself is wrong"
            return count
    raise AssertionError(f"nobody noticed in {count} lives")


def _lives() -> Iterator[Callable[[World], object]]:
    yield partial(live_with, strike=lambda world: None, at=0)
    for seed in range(RANDOM_LIVES):
        yield partial(live_long, seed=seed, moves=300)
    for at in range(0, 1000, 9):
        for strike in STRIKES.values():
            yield partial(live_with, strike=strike, at=at)


@pytest.mark.parametrize("name", ROWS)
def test_a_spoiled_row_is_caught(name: str) -> None:
    """A wrong table does not pass."""
    sequences = SPOILED_HOSTS.get(name, host_actions.sequence_for)
    assert lives_until_caught(lambda: World(ROWS[name], sequences)) > 0


@pytest.mark.parametrize("name", SEQUENCES)
def test_a_spoiled_sequence_is_caught(name: str) -> None:
    """A host that leaves something out, or does it in another order, does not pass."""
    assert lives_until_caught(lambda: World(sequences=SEQUENCES[name])) > 0


@pytest.mark.parametrize("name", DEFENDED)
def test_a_second_defence_holds(name: str) -> None:
    """One mistake is not enough to lose something."""
    entries, sequences = DEFENDED[name]
    for seed in range(20):
        world = World(entries, sequences)
        live_long(world, seed, 150)
        assert world.image.state in STATES
