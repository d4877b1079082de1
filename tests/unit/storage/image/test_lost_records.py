"""Records that contradict the grant on the volume: nobody gets the image until an operator decides.

Whole lives with lost and restored records: `daemons/test_random_lives.py`.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from rocks.storage.image import events
from rocks.storage.image.effects import EnsureGrant, EnsureVolumeGone, Grant
from rocks.storage.image.events import Retry
from rocks.storage.image.grants import (
    SEQUENCE_GAP,
    adopted,
    disagreement,
    grant_properties,
    read_grant,
    why_not_destroyed,
    why_refused,
)
from rocks.storage.image.image import Image, Work
from rocks.storage.image.states import BLOCKED, UNMAPPED
from tests.unit.storage.records import HOST, MAP, NOW, after, decided, leave_state, new_image, record, refused

STANDING = Grant(6, 40, "vmh2", "mapping", "img-6-39-x", "900", "1", "iqn.vmh2", True, "tank", 3)


# --- E1: another grant is on the volume ----------------------------------------------------------------------------


def test_a_map_does_not_use_an_epoch_again() -> None:
    """The record says epoch 5 and no host, the volume epoch 6 of vmh2: the map to another host blocks the image."""
    image = replace(new_image(), epoch=5, sequence=30)
    mapping = after(image, MAP)
    assert mapping.epoch == 6 and mapping.work is not None
    grant = mapping.work.effects[1]
    text = "epoch 6 (vmh1) in the records, epoch 6 (vmh2) on the volume"
    assert isinstance(grant, EnsureGrant)
    reason = why_refused(grant, STANDING)
    assert reason is not None and text in reason
    mapping = replace(mapping, work=replace(mapping.work, position=1))
    failed = decided(mapping, events.EffectFailed(mapping.work.work_id, 1, "incoherent", reason))
    blocked = failed.image
    assert blocked is not None and blocked.state == BLOCKED and blocked.disagrees
    assert text in blocked.reason and "rocks clean host storagemap nas-0-0 vm-vol" in blocked.reason
    assert [(outcome.op_id, outcome.family) for outcome in failed.outcomes] == [("map-1", "incoherent")]
    looking = after(blocked, events.Retry("retry-1", STANDING))
    assert (looking.owner, looking.epoch) == ("vmh2", 6)


@pytest.mark.parametrize(
    ("image", "standing"),
    [
        (replace(new_image(), epoch=5), STANDING),
        (replace(new_image(), epoch=6, sequence=50), STANDING),
        (replace(record("local"), epoch=6, sequence=50), STANDING),
        (replace(record("local"), epoch=7, sequence=50), STANDING),
        (replace(record("mapped"), epoch=6, sequence=39, owner="vmh2"), STANDING),
        (replace(record("local"), epoch=6, sequence=50, owner="vmh2"), replace(STANDING, owner=None)),
    ],
    ids=["older epoch", "no host", "another host", "older volume", "older change", "released"],
)
def test_a_contradiction_is_found_when_the_daemon_starts(image: Image, standing: Grant) -> None:
    """Both values are in the message, and no other host gets the image."""
    text = disagreement(image, standing)
    assert text is not None and f"epoch {image.epoch}" in text and "epoch 6" in text
    blocked = after(image, events.Contradicted(text))
    assert blocked.state == BLOCKED and text in refused(blocked, MAP).text
    assert after(blocked, events.Retry("retry-1", standing)).owner == standing.owner


@pytest.mark.parametrize(
    "state", ["unmapped", "mapping", "mapped", "remote", "local", "pulling", "returning"]
)
def test_a_record_agrees_with_what_it_has_written(state: str) -> None:
    """Before and after every effect of the open step."""
    image = record(state)  # type: ignore[arg-type]
    properties: dict[str, str] = {}
    for effect in () if image.work is None else image.work.effects:
        assert disagreement(image, read_grant(properties)) is None
        if isinstance(effect, EnsureGrant):
            properties = grant_properties(effect)
    assert disagreement(image, read_grant(properties)) is None


@pytest.mark.parametrize(("stated", "found"), [(None, False), (False, False), (True, True)])
def test_a_volume_that_does_not_say_whether_its_image_is_persistent_leaves_that(
    stated: bool | None, found: bool
) -> None:
    """Volumes of 0.1 do not say it until their next grant."""
    blocked = after(replace(record("local"), persistent=False), events.Contradicted("they contradict"))
    assert after(blocked, events.Retry("retry-1", replace(STANDING, persistent=stated))).persistent == found


def test_a_contradiction_ends_the_pause_of_an_image_that_is_made_again() -> None:
    """Its step is gone, so the scheduler has nothing to try again."""
    blocked = after(replace(record("local"), epoch=6, sequence=50), events.Contradicted("they contradict"))
    looking = after(blocked, events.Retry("retry-1", STANDING))
    waiting = replace(looking, retry_at=NOW + 9)
    again = after(waiting, events.Contradicted("they contradict each other"))
    assert (again.work, again.retry_at) == (None, None)
    assert refused(again, events.RetryDue()).is_stale


def test_a_settled_contradiction_goes_on_where_it_was() -> None:
    """An operator has rolled the volume's properties back himself."""
    local = replace(record("local"), epoch=6, sequence=50)
    blocked = after(local, events.Contradicted("they contradict each other"))
    standing = Grant(6, 50, HOST, "switching", image_id="1")
    assert after(blocked, events.Retry("retry-1", standing)).state == "local"


def test_an_epoch_that_was_released_is_granted_to_nobody_again() -> None:
    """Within an epoch the owner changes once, to none: a host of that time may have changes."""
    again = EnsureGrant("tank/vm-vol", 6, 41, "vmh3", "mapping", base_guid="900", image_id="1")
    assert "epoch 6 (vmh3) in the records, epoch 6 (no host)" in str(
        why_refused(again, replace(STANDING, owner=None))
    )
    assert why_refused(replace(again, owner=None), replace(STANDING, owner=None)) is None
    assert why_refused(replace(again, epoch=7), replace(STANDING, owner=None)) is None


# --- E2: giving up -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["unmapped", "mapped", "local", "returning"])
@pytest.mark.parametrize("behind", [1, 2, 40])
def test_giving_up_exceeds_the_epoch_of_the_volume(state: str, behind: int) -> None:
    """However old the record is, it ends at once: the epoch is above both, and both hosts' copies are suspect."""
    image = record(state)  # type: ignore[arg-type]
    standing = replace(STANDING, epoch=image.epoch + behind)
    blocked = after(image, events.Contradicted("they contradict each other"))
    given_up = after(blocked, events.Abandon("abandon-1", "it burns", standing=standing))
    assert given_up.epoch == standing.epoch + 1
    copy = given_up.copy_on("vmh2")
    assert copy is not None and copy.kind == "suspect"
    given_up, outcomes = leave_state(given_up)
    assert given_up.state == UNMAPPED
    assert [outcome.family for outcome in outcomes] == [None]


def test_giving_up_that_meets_a_newer_epoch_can_be_repeated() -> None:
    given_up = after(record("local"), events.Abandon("abandon-1", "it burns"))
    failed = decided(
        given_up, events.EffectFailed(given_up.work.work_id, 0, "incoherent", "the volume has epoch 9")
    )
    assert [(outcome.op_id, outcome.family) for outcome in failed.outcomes] == [("abandon-1", "incoherent")]
    assert failed.image is not None and failed.image.work is None
    again = after(failed.image, events.Abandon("abandon-2", "it burns", standing=replace(STANDING, epoch=9)))
    assert again.epoch == 10


@pytest.mark.parametrize(
    ("numbers", "stays"),
    [((6, 40), False), ((6, 39), True), ((5, 99), True), ((None, 0), False)],
    ids=["as the volume", "older change", "older epoch", "journal of an earlier release"],
)
def test_a_volume_is_destroyed_only_by_the_newest_record(
    numbers: tuple[int | None, int], stays: bool
) -> None:
    """Whatever the numbers, never one that is mapped, or was restored: a record that is wrong is blocked."""
    effect = EnsureVolumeGone("tank/vm-vol", "77", *numbers)
    removed = replace(STANDING, owner=None, state="deleting")
    assert (why_not_destroyed(effect, removed) is not None) == stays
    for standing in (STANDING, replace(removed, state="unmapped"), replace(removed, owner="vmh2")):
        assert "in the records, epoch 6" in str(why_not_destroyed(effect, standing))
        work = Work("destroy", "6-50", (effect,))
        image = replace(new_image(), state="deleting", epoch=6, sequence=50, volume_guid="77", work=work)
        text = str(disagreement(image, standing))
        blocked = after(image, events.EffectFailed("6-50", 0, "incoherent", text))
        assert (blocked.state, blocked.disagrees) == (BLOCKED, "volume")
        assert after(blocked, events.Retry("retry-1", standing)).work.step == (  # type: ignore[union-attr]
            "leave" if standing.owner is None else "look"
        )


# What a NAS makes of a volume that its records do not know.


ON_NAS = {"epoch": "4", "owner": "none", "state": "unmapped", "base_guid": "1000"}
NEW = ("nas-0-0", "tank", "vm-vol")


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({}, Image("new", *NEW)),
        ({"epoch": "x"}, Image("new", *NEW)),
        ({"epoch": "9" * 40}, Image("new", *NEW)),
        (ON_NAS, Image("new", *NEW, epoch=4, sequence=SEQUENCE_GAP, base_guid="1000")),
        (
            {**ON_NAS, "id": "1", "sequence": "17", "base_name": "img-3-9-x"},
            Image("1", *NEW, epoch=4, sequence=SEQUENCE_GAP + 17, base_guid="1000", base_name="img-3-9-x"),
        ),
    ],
)
def test_record_of_a_volume_that_no_host_has(properties: dict[str, str], expected: Image) -> None:
    """Neither its epoch nor its numbers are used again; hosts know it by the same id."""
    assert adopted(*NEW, read_grant(properties), "new") == expected
    of_volume = adopted(*NEW, read_grant(properties), "new", "77")
    assert of_volume == replace(expected, volume_guid="77"), "no other volume takes its place"


def test_an_image_that_a_host_has_is_given_to_nobody() -> None:
    """Before that host has reported what it has."""
    standing = Grant(4, 17, HOST, "mapping", image_id="1", initiator="iqn.vmh1", remote_pool="tank")
    image = adopted(*NEW, standing, "new")
    assert "the volume says epoch 4 (vmh1)" in refused(image, MAP).text
    looking = after(image, Retry("", standing))
    assert (looking.image_id, looking.epoch, looking.owner, looking.state) == ("1", 4, HOST, "blocked")
    assert looking.sequence > 17 and looking.initiator == "iqn.vmh1" and looking.remote_pool == "tank"
    assert looking.work is not None and looking.work.step == "look"
    assert decided(image, Retry("", standing)).outcomes == ()
