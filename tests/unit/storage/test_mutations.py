"""The random lives find what is wrong: each spoiled row, step or sequence is caught within a few lives."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from rocks.storage.host import effects as host_effects
from rocks.storage.host import sequences as host_sequences
from rocks.storage.host.engine import HostEngine
from rocks.storage.life import effects, events, requests
from rocks.storage.life.events import StepDone, StepFailed
from rocks.storage.life.facts import Facts
from rocks.storage.life.host_image import HostImage
from rocks.storage.life.image import Decision, Image, Rejection, Step
from rocks.storage.life.machine import Machine, entries_by_pair
from rocks.storage.life.machine import Sequence as NasSequence
from rocks.storage.life.states import STATES
from rocks.storage.life.table.rows import Row
from rocks.storage.life.transitions import mapping, write_back
from rocks.storage.nas.sequences import MACHINE, SEQUENCES
from tests.unit.storage.script import live_with
from tests.unit.storage.test_every_moment import STRIKES
from tests.unit.storage.test_life import live_long
from tests.unit.storage.world import World

RANDOM_LIVES = 100
Change = Callable[[Image, Any, int], Decision]
Sequence = Callable[[Any, HostImage, int], Any]


def spoiled(state: str, event: type, change: Change, begins: Step | None, **expected: Any) -> Machine:
    """The machine with another transition and another step in the row that is meant; it may lead elsewhere."""
    entries = {pair: list(found) for pair, found in entries_by_pair().items()}
    found = entries[(state, event)]  # type: ignore[index]
    for number, entry in enumerate(found):
        if isinstance(entry, Row) and all(getattr(entry, key) == value for key, value in expected.items()):
            found[number] = replace(entry, change=change, starts=begins, to=_leads_to(entry, change))
            return Machine(SEQUENCES, entries)
    raise AssertionError("there is no such row")


def spoiled_step(step: Step, sequence: NasSequence) -> Machine:
    """The machine with another sequence of effects for a step."""
    return Machine({**SEQUENCES, step: sequence})


def _leads_to(entry: Row, change: Change) -> Any:
    return getattr(change, "leads_to", entry.to)


def leads_to(state: str) -> Callable[[Change], Change]:
    """State where a wrong transition leads."""

    def mark(change: Change) -> Change:
        change.leads_to = state  # type: ignore[attr-defined]
        return change

    return mark


# --- wrong rows ----------------------------------------------------------------------------------------------------


@leads_to("unmapped")
def pull_taken_for_return(image: Image, event: Any, now: int) -> Decision:
    """F1: the pull that was running ends the mapping."""
    return write_back.has_left(replace(image, work=None), event, now)


def no_new_epoch(image: Image, event: Any, now: int) -> Decision:
    """A host that had the image before may go on sending results."""
    decision = mapping.begin_map(image, event, now)
    assert decision.image is not None
    return replace(decision, image=replace(decision.image, epoch=image.epoch))


def never_tries_again(image: Image, event: Any, now: int) -> Decision:
    """F2: what failed is forgotten."""
    return Decision(replace(image, work=None))


# --- wrong sequences of the NAS ------------------------------------------------------------------------------------


def export_dropped_before_switch(image: Image, event: Any, now: int) -> Any:
    """The guest still reads from it."""
    assert image.target is not None
    return (effects.EnsureExportGone(image.target), *SEQUENCES["switch"](image, event, now))


def never_quarantines(image: Image, event: Any, now: int) -> Any:
    """F3: any volume that lies on the host is in the way."""
    *others, asked = SEQUENCES["attach_overlay"](image, event, now)
    assert isinstance(asked, effects.AskHost) and isinstance(asked.request, requests.MapOverlay)
    return (*others, replace(asked, request=replace(asked.request, quarantines=False)))


def old_holds_stay(image: Image, event: Any, now: int) -> Any:
    """Every map leaves a hold."""
    found = SEQUENCES["confirm"](image, event, now)
    return tuple(one for one in found if not isinstance(one, effects.EnsureOnlyHold))


def confirmed_without_verifying(image: Image, event: Any, now: int) -> Any:
    """The NAS believes the host."""
    found = SEQUENCES["confirm"](image, event, now)
    return tuple(one for one in found if isinstance(one, effects.EnsureGrant))


MACHINES: dict[str, Machine] = {
    "no final snapshot": spoiled(
        "returning", StepDone, write_back.begin_leave, "leave", step="detach", starts="return"
    ),
    "a pull taken for the return": spoiled(
        "pulling", StepDone, pull_taken_for_return, None, step="settle", to="returning"
    ),
    "export dropped before the switch": spoiled_step("switch", export_dropped_before_switch),
    "a failed map is not undone": spoiled(
        "mapping", StepFailed, mapping.give_back, "leave", step="attach_overlay"
    ),
    "no new epoch for a map": spoiled("unmapped", events.Map, no_new_epoch, "prepare"),
    "written back without verifying": spoiled_step("confirm", confirmed_without_verifying),
    "a failed return is not tried again": spoiled(
        "returning", StepFailed, never_tries_again, None, step="return", to="returning"
    ),
    "old holds stay": spoiled_step("confirm", old_holds_stay),
}


# --- wrong sequences of a host -------------------------------------------------------------------------------------


def without(kind: type) -> Sequence:
    """The sequences without one effect."""

    def sequence(request: Any, known: HostImage, epoch: int) -> Any:
        found = host_sequences.sequence_for(request, known, epoch)
        return (
            found
            if isinstance(found, Rejection)
            else tuple(one for one in found if not isinstance(one, kind))
        )

    return sequence


def exchanged(first: type, second: type) -> Sequence:
    """The sequences with two effects exchanged."""

    def sequence(request: Any, known: HostImage, epoch: int) -> Any:
        found = host_sequences.sequence_for(request, known, epoch)
        if isinstance(found, Rejection):
            return found
        kinds = [type(one) for one in found]
        if first not in kinds or second not in kinds:
            return found
        swapped = list(found)
        one, other = kinds.index(first), kinds.index(second)
        swapped[one], swapped[other] = swapped[other], swapped[one]
        return tuple(swapped)

    return sequence


HOST_SEQUENCES: dict[str, Sequence] = {
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


SPOILED_HOSTS: dict[str, Sequence] = {"written back without verifying": without(host_effects.SendSnapshot)}
"""Machines that only do harm with a host that is wrong too."""

DEFENDED: dict[str, tuple[Machine, Sequence]] = {
    "a host reports a snapshot as sent that it has not sent": (MACHINE, without(host_effects.SendSnapshot)),
    "a strange copy is not quarantined": (
        spoiled_step("attach_overlay", never_quarantines),
        host_sequences.sequence_for,
    ),
}
"""What a second defence catches: such an image is blocked, or not mapped, and nothing is lost."""


CAUGHT_AT: dict[str, tuple[str, int]] = {
    "linear recorded before all is merged": ("the hosts lose power", 470)
}
"""The failure, and its moment, that catch what takes hundreds of other lives: they are tried first."""


def lives_until_caught(make_world: Callable[[], World], name: str = "") -> int:
    """How many lives it took; fails when none of them found anything."""
    count = 0
    for live in _lives(CAUGHT_AT.get(name)):
        count += 1
        try:
            live(make_world())
        except Exception as error:  # an assertion of the world, or of the machine about itself
            assert not isinstance(error, (AttributeError, NameError)), "the spoiled row itself is wrong"
            return count
    raise AssertionError(f"nobody noticed in {count} lives")


def _lives(first: tuple[str, int] | None) -> Iterator[Callable[[World], object]]:
    if first:
        yield partial(live_with, strike=STRIKES[first[0]], at=first[1])
    yield partial(live_with, strike=lambda world: None, at=0)
    for seed in range(RANDOM_LIVES):
        yield partial(live_long, seed=seed, moves=300)
    for at in range(0, 1000, 9):
        for strike in STRIKES.values():
            yield partial(live_with, strike=strike, at=at)


@pytest.mark.parametrize("name", MACHINES)
def test_a_spoiled_row_or_step_is_caught(name: str) -> None:
    sequences = SPOILED_HOSTS.get(name, host_sequences.sequence_for)
    assert lives_until_caught(lambda: World(MACHINES[name], sequences)) > 0


@pytest.mark.parametrize("name", HOST_SEQUENCES)
def test_a_spoiled_sequence_is_caught(name: str) -> None:
    """A host that leaves something out, or does it in another order, does not pass."""
    assert lives_until_caught(lambda: World(sequences=HOST_SEQUENCES[name]), name) > 0


ENGINES: dict[str, tuple[str, Any]] = {
    "the stage is not stored": ("_record_stage", lambda self, copy, effect, epoch, request: None),
    "nothing is rebuilt after a restart": (
        "_rebuild_next",
        lambda self, zvol, request: bool(self._end_rebuild(zvol)),
    ),
    "a failed request is reported as done": (
        "_fail",
        lambda self, record, request, error: self._answer(record, Facts(guid="0", device="/dev/mapper/x")),
    ),
    "requests are never answered": ("_answer", lambda self, record, result: None),
}
"""Wrong methods of the host's engine."""


@pytest.mark.parametrize("name", ENGINES)
def test_a_spoiled_engine_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worlds run the real engine of a host, so that a fault in it does not pass."""
    method, wrong = ENGINES[name]
    assert hasattr(HostEngine, method)
    monkeypatch.setattr(HostEngine, method, wrong)
    assert lives_until_caught(World) > 0


@pytest.mark.parametrize("name", DEFENDED)
def test_a_second_defence_holds(name: str) -> None:
    """One mistake is not enough to lose something."""
    machine, sequences = DEFENDED[name]
    for seed in range(20):
        world = World(machine, sequences)
        live_long(world, seed, 150)
        assert world.image.state in STATES
