"""The defects of the published implementation (F1–F22) that the model decides: none of them is possible."""

from dataclasses import replace

import pytest

from rocks.core.errors import FAMILIES
from rocks.storage.life import fencing, requests, schedule
from rocks.storage.life.effects import AskHost
from rocks.storage.life.events import (
    CopyFound,
    EffectFailed,
    HostDone,
    RetryDue,
)
from rocks.storage.life.facts import CopyFact, Facts, HistoryPoint
from rocks.storage.life.image import Copy, Image
from rocks.storage.life.retention import Snapshot, expired
from rocks.storage.life.transfer_plan import Diverged, Point, plan_send
from tests.unit.storage.records import (
    GIB,
    HOST,
    MAP,
    NAS_FACTS,
    NOW,
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


def asked(image: Image) -> requests.HostRequest:
    """What the host is asked in the open step."""
    last = image.work.effects[-1]
    assert isinstance(last, AskHost)
    return last.request


def test_f2_a_failed_return_is_tried_again_and_never_forgotten() -> None:
    """As long as it takes for a machine that is away; after five tries an operator looks at anything else."""
    image = finished(record("returning"))
    for tries in range(1, 12):
        image = host_failed(image, "host")
        assert image.state == "returning" and image.work is not None and image.tries == tries
        assert image.retry_at == NOW + schedule.retry_delay(tries)
        image = after(image, RetryDue(), now=image.retry_at)
    for _ in range(4):
        image = after(host_failed(image, "tool"), RetryDue(), NOW + 10**6)
    image = host_failed(image, "tool")
    assert image.state == "blocked" and image.work is not None and image.work.step == "return"


def test_f3_a_map_does_not_hide_changes_that_the_record_knows() -> None:
    """Those of the copy of this host, on a base that the NAS no longer has: the grant is revoked."""
    copy = replace(ROOMY, exists=True, guid="666", size_bytes=8 * GIB)
    of_kind = {
        kind: finished(replace(record("mapping"), copies=(Copy(HOST, "tank", kind, "666"),)), copy=copy)
        for kind in ("clean", "dirty")
    }
    assert isinstance(asked(of_kind["clean"]), requests.MapOverlay) and not of_kind["clean"].reason
    assert of_kind["dirty"].work is not None and of_kind["dirty"].work.step == "leave"
    assert "has changes on a base that is no longer the NAS's newest" in (of_kind["dirty"].reason or "")


def test_f7_a_stale_host_is_refused() -> None:
    """Its answers and its streams, by epoch; and what the receiver has alone is never rolled back."""
    image = replace(record("pulling"), epoch=9)
    rejection = refused(image, HostDone(image.work.work_id, HOST, 8))
    assert rejection.text.startswith("stale_epoch") and rejection.is_stale
    stream = fencing.check_stream(image, HOST, 8, is_to_nas=True)
    assert stream is not None and stream.text.startswith("stale_epoch")
    assert fencing.check_stream(image, "vmh2", 9, is_to_nas=True) is not None
    assert fencing.check_stream(record("local"), HOST, 1, is_to_nas=True) is not None
    assert fencing.check_stream(record("seeding"), HOST, 1, is_to_nas=True) is not None
    assert fencing.check_stream(image, HOST, 9, is_to_nas=True) is None
    ours, theirs = [Point("a", "1", 1), Point("c", "3", 3)], [Point("a", "1", 1), Point("b", "2", 2)]
    assert isinstance(plan_send(ours, theirs, "3"), Diverged)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("state", ["seeding", "switching", "pulling", "returning"])
def test_f10_no_failure_is_unknown(state: str, family: str) -> None:
    """Every family of errors leads on: to another try, or to an operator."""
    image = host_failed(record(state), family)  # type: ignore[arg-type]
    assert image.state == "blocked" or image.retry_at is not None or image.state in ("local", "mapped")


def test_f12_retention_touches_only_its_own() -> None:
    """Foreign snapshots neither count nor go, nor those with clones or holds, nor what is needed."""
    ours = [
        Snapshot(
            f"img-1-{number}-20260101T000000Z", str(number), number, 3600 * number // 10, True, False, False
        )
        for number in range(100)
    ]
    ours[5] = replace(ours[5], has_clones=True)
    ours[6] = replace(ours[6], has_holds=True)
    foreign = Snapshot("before-upgrade", "f", 7, 0, False, False, False)
    odd = Snapshot("img-golden", "g", 8, 0, True, False, False)
    gone = expired([*ours, foreign, odd], frozenset({"8"}))
    guids = {snapshot.guid for snapshot in gone}
    assert guids and not guids & {"5", "6", "8", "f", "g", "97", "98", "99"}


def test_f14_a_missing_field_is_an_answer() -> None:
    """Without initiator, or without a pool."""
    assert refused(new_image(), replace(MAP, initiator="")).text == "no initiator name"
    assert "remotepool" in refused(new_image(), replace(MAP, remote_pool=None)).text
    image = host_failed(finished(record("mapping")), "tool")
    ended = finish_step(finished(image))
    assert ended.outcomes[0].op_id == MAP.op_id
    assert ended.outcomes[0].text.startswith("Error attaching iSCSI target to compute node: ")


# --- what the design adds ------------------------------------------------------------------------------------------


def test_a_second_start_on_the_same_host_transfers_nothing() -> None:
    """R6: its clean copy at the newest guid is the image."""
    image, _ = leave_state(record("returning"))
    copy = replace(ROOMY, exists=True, guid="1000", size_bytes=8 * GIB)
    mapping = finished(after(image, replace(MAP, op_id="map-2", lease_token=2)), copy=copy)
    assert isinstance(asked(mapping), requests.MapLinear) and mapping.target is None
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
    assert isinstance(asked(finished(record("mapping"), facts, copy)), requests.MapOverlay)


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
