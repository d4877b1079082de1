"""A map: which copy of a host it uses, which lease it records, and what it refuses."""

from dataclasses import replace

import pytest

from rocks.storage.image import effects
from rocks.storage.image.effects import AskHost
from rocks.storage.image.image import Copy, CopyFact, HistoryPoint, Image
from rocks.storage.image.states import GUEST_MAY_RUN, State
from tests.unit.storage.records import (
    GIB,
    HOST,
    MAP,
    NAS_FACTS,
    ROOMY,
    after,
    decided,
    finish_step,
    finished,
    host_failed,
    leave_state,
    new_image,
    record,
    refused,
)


def asked(image: Image) -> effects.HostRequest:
    """What the host is asked in the open step."""
    last = image.work.effects[-1]
    assert isinstance(last, AskHost)
    return last.request


@pytest.mark.parametrize("state", GUEST_MAY_RUN)
def test_a_start_cancels_an_unmap_that_waits(state: State) -> None:
    """Else a machine that ended in the middle of a step would lose its device; a late request cancels nothing."""
    waiting = replace(record(state), unmap_ids=("release-1.1", "unmap-1"), lease_token=7)
    started = decided(waiting, replace(MAP, lease_token=8))
    assert started.image is not None and (started.image.unmap_ids, started.image.lease_token) == ((), 8)
    ends = {one.op_id: (one.family, one.device) for one in started.outcomes}
    assert ends[MAP.op_id][1] == waiting.device and ends["unmap-1"][0] == "state"
    assert after(waiting, replace(MAP, lease_token=6)).unmap_ids == waiting.unmap_ids


def test_f3_a_map_does_not_hide_changes_that_the_record_knows() -> None:
    """Those of the copy of this host, on a base that the NAS no longer has: the grant is revoked."""
    copy = replace(ROOMY, exists=True, guid="666", size_bytes=8 * GIB)
    of_kind = {
        kind: finished(replace(record("mapping"), copies=(Copy(HOST, "tank", kind, "666"),)), copy=copy)
        for kind in ("clean", "dirty")
    }
    assert isinstance(asked(of_kind["clean"]), effects.MapOverlay) and not of_kind["clean"].reason
    assert of_kind["dirty"].work is not None and of_kind["dirty"].work.step == "leave"
    assert "has changes on a base that is no longer the NAS's newest" in (of_kind["dirty"].reason or "")


@pytest.mark.parametrize(("pool", "is_refused"), [("other", True), ("tank", False), ("", False)])
def test_a_map_into_another_pool_does_not_hide_changes(pool: str, is_refused: bool) -> None:
    """The copy with the changes would stay unseen in its pool; a pool that is not known is asked about."""
    image = replace(new_image(), copies=(Copy(HOST, pool, "dirty", "666"),))
    if is_refused:
        assert "does not have are on vmh1 (pool other); map it there" in refused(image, MAP).text
    else:
        assert after(image, MAP).state == "mapping"


def test_a_failed_map_is_answered() -> None:
    """By the host's reason, when what it has made is undone."""
    image = host_failed(finished(record("mapping")), "tool")
    ended = finish_step(finished(image))
    assert ended.outcomes[0].op_id == MAP.op_id
    assert ended.outcomes[0].text.startswith("Error attaching iSCSI target to compute node: ")


def test_a_second_start_on_the_same_host_transfers_nothing() -> None:
    """R6: its clean copy at the newest guid is the image."""
    image, _ = leave_state(record("returning"))
    copy = replace(ROOMY, exists=True, guid="1000", size_bytes=8 * GIB)
    mapping = finished(after(image, replace(MAP, op_id="map-2", lease_token=2)), copy=copy)
    assert isinstance(asked(mapping), effects.MapLinear) and mapping.target is None
    assert finished(mapping).state == "local"


@pytest.mark.parametrize(
    ("before", "requested", "after_it"), [(3, 4, 4), (4, 3, 4), (None, 4, 4), (4, None, 4)]
)
def test_mapping_again_records_the_newest_lease(before: int, requested: int, after_it: int) -> None:
    """Whatever order the requests of two starts come in."""
    image = replace(record("local"), lease_token=before)
    decision = decided(image, replace(MAP, op_id="map-2", lease_token=requested))
    assert decision.image is not None and decision.image.lease_token == after_it
    assert decision.outcomes[0].device == "/dev/mapper/vm-vol-snap"


def test_an_old_lease_is_refused() -> None:
    """The virtual machine's lease has moved on."""
    image = replace(new_image(), lease_token=5)
    assert "older than" in refused(image, MAP).text


def test_missing_free_space_is_reported_with_numbers() -> None:
    """And the grant is given back before anything is made on the host."""
    mapping = finished(record("mapping"), copy=CopyFact(free_bytes=GIB, pool_bytes=100 * GIB))
    assert mapping.work is not None and mapping.work.step == "leave"
    ended = finish_step(mapping)
    assert ended.image is not None and ended.image.state == "unmapped"
    assert "1.0 GiB free" in ended.outcomes[0].text


def test_an_increment_needs_free_space_for_changes_only() -> None:
    """A full copy would not fit, the difference does."""
    history = (HistoryPoint("900", 0), HistoryPoint("1000", 5))
    facts = replace(NAS_FACTS, seed_bytes=50 * GIB, history=history)
    copy = CopyFact(exists=True, guid="900", size_bytes=8 * GIB, free_bytes=20 * GIB, pool_bytes=100 * GIB)
    assert isinstance(asked(finished(record("mapping"), facts, copy)), effects.MapOverlay)
