"""Discarding changes that only a host has, in every state; failures that mean "in use"; outcomes of each pull."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rocks.core.errors import FAMILIES
from rocks.storage.host import sequences as host_sequences
from rocks.storage.image import effects, transfers
from rocks.storage.image.effects import AskHost, Grant
from rocks.storage.image.events import (
    Abandon,
    HostFailed,
    Map,
    PullNow,
    Restore,
    RetryDue,
    StartPull,
    StartSeed,
    Unmap,
)
from rocks.storage.image.image import Copy, CopyFact, HostImage, Image, Rejection
from rocks.storage.image.rows import RejectionRow
from rocks.storage.image.state_machine import TABLE
from rocks.storage.image.states import HOST_HAS_IT, STATES, State
from tests.unit.storage.picture import rejection_text
from tests.unit.storage.records import (
    GIB,
    HOST,
    MAP,
    NAS_FACTS,
    NOW,
    ROOMY,
    after,
    decided,
    finished,
    host_failed,
    leave_state,
    new_image,
    record,
    refused,
)

GIVE_UP = Abandon("abandon-1", "it burns")


# --- giving up -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", HOST_HAS_IT)
def test_a_lost_host_is_given_up_from_every_state(state: State) -> None:
    """At once: a new epoch, the copy is suspect, the reason is kept, and the image is free afterwards."""
    image = record(state)
    decision = decided(image, GIVE_UP)
    given_up = decision.image
    assert given_up is not None and given_up.state == "blocked" and given_up.blocked_from == state
    assert given_up.epoch == image.epoch + 1 and given_up.abandon_reason == "it burns"
    if image.sync:
        copy = given_up.copy_on(HOST)
        assert copy is not None and copy.kind == "suspect"
    given_up, outcomes = leave_state(given_up)
    assert given_up.state == "unmapped" and given_up.abandon_reason == "it burns"
    assert [(outcome.op_id, outcome.family) for outcome in outcomes] == [("abandon-1", None)]
    assert after(given_up, replace(MAP, host="vmh2", lease_token=9)).state == "mapping"


def test_operations_that_wait_for_an_abandoned_host_fail() -> None:
    """A map, an unmap and a pull do not wait for ever."""
    assert decided(record("mapping"), GIVE_UP).outcomes[0].op_id == MAP.op_id
    waiting = after(after(record("pulling"), PullNow("pull-1")), Unmap("unmap-1"))
    decision = decided(waiting, GIVE_UP)
    assert {outcome.op_id for outcome in decision.outcomes} == {"pull-1", "unmap-1"}
    assert all(outcome.family == "host" and "it burns" in outcome.text for outcome in decision.outcomes)
    assert decision.image is not None and not decision.image.pull_ids and not decision.image.unmap_ids


def test_changes_that_block_a_map_can_be_given_up() -> None:
    """Of a host that will never return; its copy is kept, and its next report changes nothing."""
    image = replace(new_image(), epoch=3, copies=(Copy("vmh2", "tank", "dirty", "900"),))
    assert "rocks clean host storagemap" in refused(image, MAP).text
    decision = decided(image, GIVE_UP)
    given_up = decision.image
    assert given_up is not None and given_up.epoch == 4 and given_up.abandon_reason == "it burns"
    assert given_up.copies == (Copy("vmh2", "tank", "suspect", "900"),)
    assert [outcome.op_id for outcome in decision.outcomes] == ["abandon-1"]
    assert after(given_up, MAP).state == "mapping"
    ahead = Abandon("abandon-2", "it burns", standing=Grant(9, 1, "vmh2", "mapped"))
    assert after(image, ahead).epoch == 10, "above the grant on the volume, too"
    assert "no host has changes of it" in refused(new_image(), GIVE_UP).text


# --- in use --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["mapped", "remote", "local"])
def test_an_unmap_under_a_running_guest_leaves_the_image_where_it_was(state: State) -> None:
    """The host says that the device is in use, which is no reason to try for ever."""
    back = after(record(state), Unmap("unmap-1"))
    assert back.work is not None and back.work.step in ("drop", "detach")
    ended = decided(
        back, HostFailed(back.work.work_id, HOST, back.epoch, "busy", "/dev/mapper/vm-vol-snap is in use")
    )
    assert ended.image is not None and ended.image.state == state and ended.image.work is None
    assert [outcome.op_id for outcome in ended.outcomes] == ["unmap-1"]
    begin = "Error detaching iSCSI target from compute node"
    if state == "local":
        begin = f"ZVol {back.zvol} stays on {HOST}"
    assert ended.outcomes[0].text == f"{begin}: /dev/mapper/vm-vol-snap is in use"


def test_busy_elsewhere_is_waited_for() -> None:
    """A transfer or a switch that finds somebody else at it is tried again."""
    image = finished(record("returning"))
    assert image.work is not None and image.work.step == "return"
    for busy in (image, record("switching")):
        waiting = host_failed(busy, "busy")
        assert waiting.state == busy.state and waiting.retry_at is not None
        assert after(waiting, RetryDue(), NOW + 10**6).work is not None


# --- pulls ---------------------------------------------------------------------------------------------------------


def pulled(image: Image) -> tuple[Image, list[str]]:
    """The record after a whole pull, and the operations whose outcome was reported."""
    image, outcomes = leave_state(image)
    return image, [outcome.op_id for outcome in outcomes]


def test_a_pull_that_was_asked_for_while_one_runs_waits_for_the_next() -> None:
    """The snapshot that is on its way may be older than the request."""
    pulling = after(after(record("local"), PullNow("pull-1")), StartPull())
    image, reported = pulled(after(pulling, PullNow("pull-2")))
    assert reported == ["pull-1"] and image.pull_ids == ("pull-2",)
    job = transfers.job_of(image, NOW, NOW + 999, NOW)
    assert job is not None and job.kind == "requested pull"
    image, reported = pulled(after(image, StartPull()))
    assert reported == ["pull-2"] and image.pull_ids == ()


def test_a_cut_pull_answers_only_those_who_asked_before_it() -> None:
    """Its snapshot is sent first, whatever requests arrived meanwhile."""
    pulling = after(after(record("local"), PullNow("pull-1")), StartPull())
    cut = after(host_failed(pulling, "host"), PullNow("pull-2"))
    image, reported = pulled(after(cut, StartPull(), NOW + 10**6))
    assert reported == ["pull-1"] and image.pull_ids == ("pull-2",)


@pytest.mark.parametrize("state", ["seeding", "pulling"])
def test_a_pause_of_an_image_that_waits_for_a_slot_ends_once(state: State) -> None:
    """The scheduler asks twice a second: the first time ends the pause, and the transfer is due at once."""
    waiting = host_failed(record(state), "host")
    assert waiting.state in ("mapped", "local") and waiting.retry_at is not None and waiting.work is None
    assert transfers.job_of(waiting, NOW, NOW + 999, NOW) is None
    due = after(waiting, RetryDue(), NOW + 10**6)
    assert due.retry_at is None and due.tries == waiting.tries
    job = transfers.job_of(due, NOW, NOW + 999, NOW)
    assert job is not None and job.kind == {"seeding": "seed", "pulling": "pull"}[state]
    assert refused(due, RetryDue()).is_stale


# --- a host without a record ---------------------------------------------------------------------------------------


def test_a_lost_record_does_not_prove_that_nothing_was_written() -> None:
    """What is there is looked at before the map is called dropped."""
    request = effects.DropMap("vm-vol", "tank", "iqn.x", discards=False)
    sequence = host_sequences.sequence_for(request, HostImage("vm-vol"), 2)
    assert not isinstance(sequence, Rejection)
    assert sequence == (
        "EnsureDeviceGone",
        "RequireTempWriteEmpty",
        "EnsureOriginGone",
        "EnsureSessionGone",
    )


def test_changes_under_a_lost_record_block_the_image() -> None:
    """The host then rejects the request for a copy; nothing is dropped."""
    back = after(record("mapped"), Unmap("unmap-1"))
    facts = replace(ROOMY, has_temp_write=True)
    mapped = finished(back, replace(NAS_FACTS, has_changes=True), facts)
    assert mapped.state == "mapped" and mapped.unmap_ids == ("unmap-1",)
    seeding = after(mapped, StartSeed())
    ask = seeding.work.effects[-1]
    assert isinstance(ask, AskHost)
    rejection = host_sequences.sequence_for(ask.request, HostImage("vm-vol"), seeding.epoch)
    assert isinstance(rejection, Rejection)
    assert host_failed(seeding, rejection.family).state == "blocked"


@pytest.mark.parametrize("sync", [True, False])
def test_a_temp_write_volume_is_quarantined_at_the_next_map(sync: bool) -> None:
    """Although the host knows nothing of the image, and although its copy is at the base."""
    copy = CopyFact(
        exists=True,
        guid="1000",
        size_bytes=8 * GIB,
        has_temp_write=True,
        free_bytes=100 * GIB,
        pool_bytes=200 * GIB,
    )
    mapping = finished(after(new_image(), replace(MAP, sync=sync)), copy=copy)
    ask = mapping.work.effects[-1]
    assert isinstance(ask, AskHost) and isinstance(ask.request, (effects.MapOverlay, effects.MapRemote))
    assert ask.request.quarantines
    sequence = host_sequences.sequence_for(ask.request, HostImage("vm-vol"), mapping.epoch)
    assert not isinstance(sequence, Rejection)
    assert "EnsureQuarantined" in sequence


# --- texts ---------------------------------------------------------------------------------------------------------


def test_no_text_names_a_command_that_is_not_there() -> None:
    """And none promises that a destruction is taken back."""
    texts = [entry.text for entry in TABLE if isinstance(entry, RejectionRow)]
    texts += [
        rejection_text(state, event) for state in STATES for event in (Map, Unmap, PullNow, Restore, Abandon)
    ]
    assert not [text for text in texts if "repair host" in text or "takes that back" in text]
    deleting = refused(record("deleting"), replace(MAP, op_id="map-2"))
    assert deleting.text == "ZVol vm-vol is busy: it is marked for destruction"


# Failures of every family lead on.


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("state", ["seeding", "switching", "pulling", "returning"])
def test_f10_no_failure_is_unknown(state: str, family: str) -> None:
    """Every family of errors leads on: to another try, or to an operator."""
    image = host_failed(record(state), family)  # type: ignore[arg-type]
    assert image.state == "blocked" or image.retry_at is not None or image.state in ("local", "mapped")
