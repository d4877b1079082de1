"""Every pair of state and event has a row or a rejection with a text; what is too late is ignored."""

from __future__ import annotations

import typing
from dataclasses import replace

import pytest

from rocks.core.errors import FAMILIES, Code
from rocks.storage.image import events, grants, rejections, state_machine
from rocks.storage.image.events import CopyFound, EffectFailed, Event, HostDone
from rocks.storage.image.image import Copy, Decision, Facts, Rejection, Step
from rocks.storage.image.rows import RejectionRow, Row
from rocks.storage.image.state_machine import TABLE
from rocks.storage.image.states import STATES, State
from rocks.storage.image.transfers import Diverged, Point, plan_send
from rocks.storage.nas.listing import image_row
from rocks.storage.nas.sequences import MACHINE
from tests.unit.storage.records import GIB, HOST, MAP, NOW, after, new_image, record, refused

STEPS = typing.get_args(Step)

SAMPLES: dict[type[Event], Event] = {
    events.Map: replace(MAP, op_id="map-2"),
    events.Unmap: events.Unmap("unmap-2"),
    events.PullNow: events.PullNow("pull-2"),
    events.Delete: events.Delete("delete-2"),
    events.Undelete: events.Undelete("undelete-2"),
    events.Restore: events.Restore("restore-2", "img-1-1-20270115T080000Z", "900"),
    events.Move: events.Move("move-2", "nas-0-1", "tank"),
    events.Grow: events.Grow("grow-2", 16 * GIB),
    events.Cancel: events.Cancel("cancel-2"),
    events.Configure: events.Configure("set-2", False),
    events.Retry: events.Retry("retry-2"),
    events.Abandon: events.Abandon("abandon-2", "it burns"),
    events.CopyFound: events.CopyFound("vmh2", "tank", 0, "clean", "900"),
    events.StartSeed: events.StartSeed(),
    events.StartPull: events.StartPull(),
    events.RetryDue: events.RetryDue(),
    events.GracePassed: events.GracePassed(60),
    events.Restarted: events.Restarted(),
    events.Contradicted: events.Contradicted("the records and the volume contradict each other"),
}
EVENTS = (*SAMPLES, events.StepDone, events.StepFailed)
PAIRS = [(state, event) for state in STATES for event in EVENTS]


def samples(event: type[Event]) -> list[Event]:
    """One of every kind; results of steps once for each step."""
    if event is events.StepDone:
        return [events.StepDone(step, Facts(guid="1000", volume_guid="77")) for step in STEPS]
    if event is events.StepFailed:
        return [events.StepFailed(step, family, "it failed") for step in STEPS for family in FAMILIES]
    return [SAMPLES[event]]


def test_every_pair_has_an_answer() -> None:
    """The record in that state has a row or a rejection for the event."""
    results = {events.EffectDone, events.EffectFailed, events.HostDone, events.HostFailed}
    kinds = {*Event.__subclasses__(), *events.Request.__subclasses__()} - {events.Request}
    assert kinds - results == set(EVENTS)
    assert [
        (state, event.__name__)
        for state, event in PAIRS
        if not (_has_text(state, event) or _ends_without_question(state, event))
    ] == []


def _has_text(state: State, event: type[Event]) -> bool:
    return (state, event) in rejections._BY_PAIR or event in rejections._BY_EVENT


def test_every_rejection_is_a_sentence_about_the_image() -> None:
    offenders = []
    for state, event in PAIRS:
        image = record(state)
        for sample in samples(event):
            step = getattr(sample, "step", None)
            if step is not None and (image.work is None or image.work.step != step):
                continue
            decision = MACHINE.decide(image, sample, NOW)
            if isinstance(decision, Rejection) and not (
                decision.family in FAMILIES
                and decision.text.startswith(("ZVol vm-vol", "Error ", HOST))
                and "{" not in decision.text
            ):
                offenders.append((state, sample, decision))
    assert offenders == []


def _ends_without_question(state: State, event: type[Event]) -> bool:
    entries = [entry for entry in TABLE if (entry.state, entry.event) == (state, event)]
    return bool(entries) and entries[-1].guard is None


def test_every_step_has_an_end() -> None:
    """A step that a row begins has, in the state it leads to, rows without a question for success and failure."""
    for row in TABLE:
        if isinstance(row, Row) and row.starts is not None:
            for event in (events.StepDone, events.StepFailed):
                ends = [
                    entry
                    for entry in TABLE
                    if isinstance(entry, Row)
                    and (entry.state, entry.event, entry.step) == (row.to, event, row.starts)
                ]
                assert ends and ends[-1].guard is None, f"{row.to}: {row.starts} {event.__name__}"


def test_nothing_stands_behind_a_row_without_question() -> None:
    """Such an entry would never count."""
    closed: set[tuple[object, ...]] = set()
    for entry in TABLE:
        key = (entry.state, entry.event, entry.step if isinstance(entry, Row) else None)
        assert key not in closed, f"{key} is never reached"
        if entry.guard is None:
            closed.add(key)


def test_every_state_is_reached_and_left() -> None:
    rows = [entry for entry in TABLE if isinstance(entry, Row)]
    assert {row.to for row in rows} - {None} == set(STATES)
    for state in STATES:
        assert any(row.state == state and row.to != state for row in rows)


def test_refused_everywhere_has_no_row_of_its_own() -> None:
    """A rejection with a question needs something behind it."""
    for entry in TABLE:
        if isinstance(entry, RejectionRow):
            assert entry.guard is not None


@pytest.mark.parametrize("state", STATES)
def test_a_restart_does_what_is_open(state: State) -> None:
    """The same effects, from the first that is not done; the record stays as it is."""
    image = record(state)
    decision = MACHINE.decide(image, events.Restarted(), NOW)
    assert isinstance(decision, Decision) and decision.image == image
    assert state_machine.is_ready(image) == (image.work is not None)


@pytest.mark.parametrize(
    ("state", "event", "code"),
    [
        ("returning", events.Map, Code.IMAGE_BUSY),
        ("mapping", events.Delete, Code.IMAGE_BUSY),
        ("local", events.Map, Code.IMAGE_MAPPED),
        ("unmapped", events.Unmap, Code.IMAGE_NOT_MAPPED),
        ("unmapped", events.PullNow, None),
    ],
)
def test_a_rejection_has_the_code_by_which_programs_decide(
    state: State, event: type[Event], code: Code | None
) -> None:
    """The raised error has it too."""
    rejection = rejections.reject(record(state), SAMPLES[event])
    assert (rejection.code, rejection.error().code, str(rejection.error())) == (code, code, rejection.text)


@pytest.mark.parametrize("state", ["mapped", "seeding", "switching", "remote", "local", "pulling"])
def test_a_map_on_another_host_is_refused_with_the_words_that_tools_look_for(state: State) -> None:
    """`already mapped` for good, `is busy` as long as the listing has the image locked."""
    rejection = rejections.reject(record(state), SAMPLES[events.Map])
    row = image_row(record(state), {}, NOW)
    assert rejection.text.startswith("Error when mapping zvol: already mapped: ")
    assert ("; ZVol vm-vol is busy: " in rejection.text) == (row.locked is not None)
    assert (rejection.family, rejection.code) == ("state", Code.IMAGE_MAPPED)


# What a host says or sends whose time is over: an old epoch, an old work.


def test_f7_a_stale_host_is_refused() -> None:
    """Its answers and its streams, by epoch; and what the receiver has alone is never rolled back."""
    image = replace(record("pulling"), epoch=9)
    rejection = refused(image, HostDone(image.work.work_id, HOST, 8))
    assert rejection.text.startswith("stale_epoch") and rejection.is_stale
    stream = grants.check_stream(image, HOST, 8, is_to_nas=True)
    assert stream is not None and stream.text.startswith("stale_epoch")
    assert grants.check_stream(image, "vmh2", 9, is_to_nas=True) is not None
    assert grants.check_stream(record("local"), HOST, 1, is_to_nas=True) is not None
    assert grants.check_stream(record("seeding"), HOST, 1, is_to_nas=True) is not None
    assert grants.check_stream(image, HOST, 9, is_to_nas=True) is None
    ours, theirs = [Point("a", "1", 1), Point("c", "3", 3)], [Point("a", "1", 1), Point("b", "2", 2)]
    assert isinstance(plan_send(ours, theirs, "3"), Diverged)


def test_a_report_of_changes_under_an_old_epoch_makes_them_suspect() -> None:
    """They block nobody, and are never destroyed."""
    image = replace(new_image(), epoch=5)
    found = after(image, CopyFound("vmh2", "tank", 4, "dirty", "900"))
    assert found.copy_on("vmh2") == Copy("vmh2", "tank", "suspect", "900")
    assert after(found, MAP).state == "mapping"


def test_results_of_other_works_are_dropped() -> None:
    """Twice delivered, or too late."""
    image = record("seeding")
    done = HostDone(image.work.work_id, HOST, image.epoch, Facts(guid="1000"))
    later = after(image, done)
    assert refused(later, done).is_stale
    assert refused(image, EffectFailed("0-0", 0, "tool", "x")).is_stale
