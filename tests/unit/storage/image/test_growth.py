"""An image grows while no host has it; a copy of the size before is never taken for the image."""

from dataclasses import replace
from typing import Any

import pytest

from rocks.core.errors import Code, IncoherentError
from rocks.storage.host.copies import CopyHandlers
from rocks.storage.host.engine import GrantedImage
from rocks.storage.image import effects, guards
from rocks.storage.image.events import EffectFailed, Grow
from rocks.storage.image.image import Copy, CopyFact, HostImage
from rocks.storage.image.states import GUEST_MAY_RUN, STATES, UNMAPPED, State
from tests.fakes.zfs import FakePools
from tests.unit.storage.nas.test_volumes import SIZE, VOLUME, Site
from tests.unit.storage.records import (
    GIB,
    MAP,
    NAS_FACTS,
    ROOMY,
    after,
    finished,
    new_image,
    record,
    refused,
)

GROWN = 2 * SIZE


# --- the states ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [state for state in STATES if state != UNMAPPED])
def test_only_an_unmapped_image_grows(state: State) -> None:
    """Where a guest may run, the answer says how to unmap it; where something ends by itself, a program may wait."""
    rejection = refused(record(state), Grow("grow-2", 16 * GIB))
    assert rejection.text.startswith("ZVol vm-vol ")
    assert ("stop its machine" in rejection.text) == (state in GUEST_MAY_RUN)
    busy = ("mapping", "returning", "restoring", "moving", "growing")
    assert (rejection.code is Code.IMAGE_BUSY) == (state in busy)


def test_a_host_with_changes_keeps_the_size() -> None:
    """They are of the present size; what was given up does not count."""
    image = replace(new_image(), copies=(Copy("vmh1", "tank", "dirty", "1000"),))
    text = refused(image, Grow("grow-1", 16 * GIB)).text
    assert "changes that the NAS does not have are on vmh1" in text
    assert text.endswith('rocks clean host storagemap nas-0-0 vm-vol force=yes reason="…"'), (
        "as the command wants it"
    )
    image = replace(new_image(), copies=(Copy("vmh1", "tank", "suspect", "1000"),))
    assert after(image, Grow("grow-1", 16 * GIB)).state == "growing"


# --- the volume ----------------------------------------------------------------------------------------------------


def grow(site: Site, size_bytes: int, pools: Any = None) -> str | None:
    """Ask for it, and do it; returns the error."""
    site.take(Grow(f"grow-{len(site.outcomes)}", size_bytes))
    site.work(pools)
    assert site.image.state == "unmapped"
    outcome = site.outcomes[-1]
    return None if outcome.family is None else outcome.text


def test_the_volume_grows_and_the_record_has_its_size() -> None:
    """In whole blocks; content and snapshots stay."""
    site = Site()
    assert grow(site, GROWN - 1) is None
    fact = site.fact(VOLUME)
    assert (fact.size_bytes, fact.guid, site.image.size_bytes) == (GROWN, site.guid, GROWN)
    assert site.content() == b"newest" and site.snapshot("old")
    assert grow(site, GROWN) is None, "again is no error"


def test_it_never_shrinks() -> None:
    """The answer has both sizes."""
    site = Site()
    text = grow(site, SIZE // 2)
    assert text is not None and "has 64.0 MiB" in text and "does not shrink" in text
    assert site.fact(VOLUME).size_bytes == SIZE == site.image.size_bytes


def test_a_pool_without_space_for_its_changes() -> None:
    """No host would get the image: the space is that which a map needs."""
    site = Site()
    text = grow(site, 1024 * GIB)
    assert text is not None and "the NAS's pool has" in text and "for changes" in text
    assert site.fact(VOLUME).size_bytes == SIZE


def test_another_volume_of_its_name_does_not_grow() -> None:
    """It is not the image."""
    site = Site()
    site.pools.ensure_renamed(VOLUME, site.guid, "tank/elsewhere")
    assert "does not exist" in (grow(site, GROWN) or "")
    site.pools.ensure_volume(VOLUME, SIZE, 16384)
    assert "another volume has its name" in (grow(site, GROWN) or "")
    assert site.fact(VOLUME).size_bytes == SIZE


def test_a_volume_that_a_host_has_does_not_grow() -> None:
    """The record was restored from an older copy: the host's changes could not be received afterwards."""
    site = Site()
    site.pools.ensure_properties(VOLUME, site.guid, {"imgstore:owner": "vmh1", "imgstore:epoch": "2"})
    text = grow(site, GROWN)
    assert text is not None and "it says that vmh1 has it" in text
    assert site.fact(VOLUME).size_bytes == SIZE


def test_a_daemon_that_was_killed_goes_on() -> None:
    """Before the volume has grown, or after: the open step is performed again."""
    for is_grown in (False, True):
        site = Site()
        site.take(Grow("grow-1", GROWN))
        if is_grown:
            site.operations().do(effects.EnsureSize(VOLUME, GROWN, site.guid))
        site.work()
        assert (site.image.state, site.image.size_bytes, site.outcomes[-1].family) == (
            "unmapped",
            GROWN,
            None,
        )


def test_a_map_takes_a_snapshot_that_has_the_size() -> None:
    """Although nothing was written since the newest one."""
    site = Site()

    def base_name(name: str) -> str | None:
        return site.operations().do(effects.EnsureBase(VOLUME, name)).base_name

    first, second = "img-1-1-20270115T080000Z", "img-1-2-20270115T080000Z"
    assert (base_name(first), base_name(second)) == (first, first)
    assert grow(site, GROWN) is None
    assert base_name(second) == second


def test_the_volume_of_a_map_that_failed_before_it_was_made() -> None:
    """There is none yet: the next map makes it with the size of its own request, not with that of the former."""
    asked = after(new_image(), MAP)
    failure = EffectFailed(asked.work.work_id, 0, "tool", "out of space")
    image = finished(after(asked, failure))
    assert (image.state, image.volume_guid) == ("unmapped", None)
    again = after(image, replace(MAP, op_id="map-2", size_bytes=16 * GIB))
    assert again.work.effects[0] == effects.EnsureVolume("tank/vm-vol", 16 * GIB, None)


# --- copies --------------------------------------------------------------------------------------------------------


def copy_of(guid: str, size_bytes: int) -> CopyFact:
    """A clean copy at one of the snapshots 900 and 1000 (the base) of an image of 8 GiB."""
    return replace(ROOMY, exists=True, guid=guid, size_bytes=size_bytes)


@pytest.mark.parametrize(
    ("guid", "size_gib", "is_usable"),
    [
        ("900", 8, True),
        ("1000", 8, True),
        ("900", 4, True),
        ("1000", 4, False),
        ("900", 16, False),
        ("7", 4, False),
    ],
)
def test_a_copy_of_the_size_before(guid: str, size_gib: int, is_usable: bool) -> None:
    """It gets the difference to the newest snapshot; at the newest it would be no copy of it."""
    assert guards.copy_is_usable(copy_of(guid, size_gib * GIB), NAS_FACTS) == is_usable


@pytest.mark.parametrize(("guid", "step"), [("1000", "attach_linear"), ("900", "attach_overlay")])
def test_only_a_copy_of_the_whole_size_is_used_without_a_transfer(guid: str, step: str) -> None:
    """A smaller one is mapped as the NAS's disk first, and not quarantined."""
    prepared = finished(after(new_image(), MAP), copy=copy_of(guid, (8 if guid == "1000" else 4) * GIB))
    assert prepared.work is not None and prepared.work.step == step
    assert prepared.work.asked is None or not getattr(prepared.work.asked.request, "quarantines", False)
    small = finished(after(new_image(), MAP), copy=copy_of("1000", 4 * GIB))
    assert small.work is not None and small.work.step == "attach_overlay"


def test_a_host_refuses_a_copy_that_is_smaller_than_the_image() -> None:
    """Whatever the NAS asks for: a device larger than its volume would fail the guest's writes."""
    pools = FakePools({"tank": GIB})
    pools.ensure_volume("tank/vm-vol", SIZE, 16384)
    fact = pools.read_volume("tank/vm-vol")
    newest = pools.ensure_snapshot("tank/vm-vol", fact.guid, "one", {})
    handlers = CopyHandlers(pools, None, "vmh1")  # type: ignore[arg-type] # nothing is transferred
    request = effects.MapLinear("vm-vol", "tank", newest.guid, SIZE)
    require = handlers.handlers["RequireCopyAt"]
    known = HostImage("vm-vol", "tank", size_bytes=SIZE)
    image = GrantedImage("1", 1, known, "nas-0-0", "tank/vm-vol", "10.2.0.1", 3260, 7780, None)
    assert require(request, image).guid == newest.guid
    with pytest.raises(IncoherentError, match="of the time before the image has grown"):
        require(request, image._replace(known=replace(known, size_bytes=GROWN)))
    pools.write("tank/vm-vol", b"by hand")
    with pytest.raises(IncoherentError, match="bytes written since one, which the NAS does not have"):
        require(request, image)
