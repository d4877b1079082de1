"""The state `moving`: what each event does in it, and that the image has one owner at every moment."""

from dataclasses import replace

import pytest

from rocks.storage.image import effects
from rocks.storage.image.events import (
    Abandon,
    Cancel,
    EffectDone,
    EffectFailed,
    Map,
    Move,
    Retry,
    RetryDue,
)
from rocks.storage.image.image import Facts, Image
from tests.unit.storage.records import MAP, MAX_STEPS, NAS_FACTS, after, decided, finished, new_image, refused

OTHER = "nas-0-1"
MOVE = Move("move-1", OTHER, "fast", 3600)


def begun() -> Image:
    return after(new_image(), MOVE)


def sending() -> Image:
    return finished(begun())


def handing_over() -> Image:
    return finished(sending())


def failed(image: Image, family: str, message: str = "it failed") -> Image:
    assert image.work is not None
    return after(image, EffectFailed(image.work.work_id, image.work.position, family, message))


def last_effect(image: Image) -> Image:
    """All effects of the step but the last are done."""
    assert image.work is not None
    return replace(image, work=replace(image.work, position=len(image.work.effects) - 1, facts=NAS_FACTS))


@pytest.mark.parametrize("image", [begun(), sending(), handing_over()], ids=["check", "send", "hand over"])
def test_no_host_gets_it_meanwhile(image: Image) -> None:
    """Nor does a second NAS; the same command waits for the same move."""
    assert refused(image, MAP).family == "busy"
    assert "is being moved to nas-0-1 already" in refused(image, Move("m", "nas-0-2", "tank")).text
    assert after(image, replace(MOVE, op_id="move-2")).move_ids == ("move-1", "move-2")


def test_cancel_before_and_after_the_hand_over_begins() -> None:
    """Before it the image stays here; then nobody but the other NAS knows."""
    decision = decided(sending(), Cancel("cancel-1"))
    assert decision.image is not None and decision.image.state == "unmapped" and decision.image.peer is None
    assert {one.op_id: one.family for one in decision.outcomes} == {"move-1": "state", "cancel-1": None}
    assert refused(handing_over(), Cancel("cancel-1")).family == "busy"


def test_failures_while_it_is_sent() -> None:
    """An absent NAS and a full pool are waited for; what cannot help ends the move, and the image stays here."""
    for family in ("host", "busy"):
        image = sending()
        for _ in range(20):
            image = failed(last_effect(image), family)
            assert image.state == "moving" and image.retry_at is not None
            image = after(image, RetryDue(), image.retry_at)
    for family in ("state", "user", "incoherent"):
        assert failed(last_effect(sending()), family).state == "unmapped"
    image = sending()
    for _ in range(MAX_STEPS):
        image = failed(last_effect(image), "tool")
        if image.retry_at is None:
            break
        image = after(image, RetryDue(), image.retry_at)
    assert image.state == "unmapped"


def test_failures_of_the_hand_over() -> None:
    """It never leads back by itself: waiting, or a person."""
    for family in ("host", "busy"):
        image = handing_over()
        for _ in range(20):
            image = failed(last_effect(image), family)
            assert image.state == "moving" and image.retry_at is not None
            image = after(image, RetryDue(), image.retry_at)
    blocked = failed(last_effect(handing_over()), "incoherent", "not expected")
    assert (blocked.state, blocked.reason, blocked.move_ids) == ("blocked", "not expected", ())
    again = after(blocked, Retry("retry-1"))
    assert again.state == "moving" and again.work is not None and again.work.step == "hand_over"
    gone = finished(again)
    assert gone.state == "deleting"


@pytest.mark.parametrize("is_blocked", [False, True])
def test_other_nas_is_lost_for_good(is_blocked: bool) -> None:
    """With a new epoch; the volume is marked as usable again, under the image's id."""
    image = failed(last_effect(handing_over()), "incoherent") if is_blocked else handing_over()
    given_up = after(image, Abandon("abandon-1", "burnt"))
    assert given_up.work is not None
    grant = given_up.work.effects[0]
    assert isinstance(grant, effects.EnsureGrant)
    assert (grant.state, grant.epoch, grant.image_id) == ("unmapped", image.epoch + 1, image.image_id)
    back = finished(given_up)
    assert (back.state, back.peer) == ("unmapped", None)
    assert after(back, MAP).epoch > image.epoch + 1


def test_result_of_an_overtaken_attempt_counts_for_nothing() -> None:
    """The transfer of a cancelled move ends late."""
    old = last_effect(sending())
    assert old.work is not None
    anew = finished(after(after(old, Cancel("cancel-1")), replace(MOVE, op_id="move-2")))
    late = EffectDone(old.work.work_id, old.work.position, Facts(guid="1000"))
    assert refused(anew, late).is_stale


def test_only_an_idle_image_without_changes_elsewhere_is_moved() -> None:
    """Changes that only a host has would not be moved."""
    dirty = new_image().with_copy("vmh1", "tank", "dirty", "900")
    assert refused(dirty, MOVE).text == (
        f"ZVol {dirty.zvol} cannot be moved: changes that the NAS does not have are on vmh1; map it there and unmap "
        f'it, or give them up by rocks clean host storagemap {dirty.nas} {dirty.zvol} force=yes reason="…"'
    )
    assert (
        isinstance(MAP, Map) and "it is being mapped to vmh1" in refused(after(new_image(), MAP), MOVE).text
    )
