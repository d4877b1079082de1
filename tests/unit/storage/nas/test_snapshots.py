"""Snapshots that a NAS holds for machines, without a broker: which one is held, and what is refused."""

from dataclasses import replace

import pytest

from rocks.core.errors import StateError, UserError
from rocks.fleet.wire.snapshot_names import FROZEN
from rocks.storage.image.image import Image
from rocks.storage.image.states import LOCAL, PULLING, SEEDING, UNMAPPED, State
from rocks.storage.nas.snapshots import HeldSnapshots
from rocks.storage.wire.names import Tag, moment_tag, part_tag, read_tag, unfinished_tag
from rocks.storage.wire.requests import HoldSnapshot, ReleaseSnapshot
from rocks.storage.zfs.facts import SnapshotFact
from tests.unit.storage.nas.test_bases import Nas

ZVOL, VOLUME, MACHINE = "web-vol", "tank/web-vol", "11111111-2222-3333-4444-555555555555"
FIRST = "img-0-1-20261101T120000Z"
PART = part_tag("monday", "0123abcd", 1, 2)


@pytest.fixture
def nas() -> Nas:
    """With one image, at rest."""
    made = Nas()
    guid = made.make(ZVOL, FIRST)
    made.records.known[ZVOL] = Image(
        "id", "nas-0-0", "tank", ZVOL, state=UNMAPPED, volume_guid=guid, machine=MACHINE
    )
    return made


def holder(nas: Nas) -> HeldSnapshots:
    return HeldSnapshots(nas.pools, lambda _, zvol: nas.records.known[zvol], nas.clones.snapshot_of_now)


def held(nas: Nas) -> dict[str, tuple[str, ...]]:
    """Snapshot → the tags that hold it."""
    return {one.name: one.holds for one in nas.pools.read_history(VOLUME).snapshots if one.holds}


def put(nas: Nas, state: State, owner: str | None, base: str | None = None) -> None:
    nas.records.known[ZVOL] = replace(nas.records.known[ZVOL], state=state, owner=owner, base_guid=base)


def snapshot(nas: Nas, name: str) -> SnapshotFact:
    found = nas.pools.read_history(VOLUME).snapshot(name)
    assert found is not None
    return found


def test_tags_state_what_they_are_for() -> None:
    assert read_tag(PART) == Tag("monday", 1, 2, run="0123abcd") and read_tag(
        moment_tag("a-b_c", FROZEN)
    ) == Tag("a-b_c", word=FROZEN)
    for other in (
        "imgstore_base",
        "rocks-snapshot:monday:0123abcd:1-of-0",
        "rocks-snapshot:monday:1-of-1",
        f"{PART}\n",
    ):
        assert read_tag(other) is None


def test_at_rest_it_is_one_of_the_present_content(nas: Nas) -> None:
    """The same request again changes nothing; what is written later is in another one."""
    answer = holder(nas).hold(HoldSnapshot(ZVOL, "tank", (PART,), machine=MACHINE))
    assert answer == holder(nas).hold(HoldSnapshot(ZVOL, "tank", (PART,), machine=MACHINE))
    assert held(nas) == {FIRST: (PART,)} and answer["guid"] == snapshot(nas, FIRST).guid
    nas.pools.write(VOLUME, b"more")
    later = holder(nas).hold(HoldSnapshot(ZVOL, "tank", (part_tag("tuesday", "0123abcd", 1, 1),)))
    assert later["name"] != FIRST and len(held(nas)) == 2
    holder(nas).release(ReleaseSnapshot(ZVOL, "tank", "monday"))
    assert list(held(nas)) == [later["name"]]


@pytest.mark.parametrize("state", [LOCAL, PULLING])
def test_of_a_mapped_image_it_is_what_the_host_has_sent(nas: Nas, state: State) -> None:
    """Not what arrives just now; or the one that is named."""
    first = snapshot(nas, FIRST)
    nas.pools.ensure_snapshot(VOLUME, nas.records.known[ZVOL].volume_guid or "", "arriving", {})
    put(nas, state, "vmc-0-0", first.guid)
    assert holder(nas).hold(HoldSnapshot(ZVOL, "tank", (PART,), True))["name"] == FIRST
    guid = snapshot(nas, "arriving").guid
    assert holder(nas).hold(HoldSnapshot(ZVOL, "tank", (PART,), True, guid))["name"] == "arriving"


def test_what_is_refused(nas: Nas) -> None:
    """Another state than the frontend believes; another machine's image; tags of something else."""
    states: tuple[tuple[bool, State, str | None], ...] = (
        (True, UNMAPPED, None),
        (False, LOCAL, "vmc-0-0"),
        (True, SEEDING, "vmc-0-0"),
        (False, "deleting", None),
    )
    for is_mapped, state, owner in states:
        put(nas, state, owner)
        with pytest.raises(StateError, match=f"ZVol {ZVOL} is {state}.*gets no snapshot now"):
            holder(nas).hold(HoldSnapshot(ZVOL, "tank", (PART,), is_mapped))
    put(nas, UNMAPPED, None)
    with pytest.raises(StateError, match="belongs to another machine"):
        holder(nas).hold(HoldSnapshot(ZVOL, "tank", (PART,), machine=MACHINE.replace("1", "9")))
    for tags in ((), ("imgstore_base",), (PART, "x")):
        with pytest.raises(UserError, match="no tags of a snapshot"):
            holder(nas).hold(HoldSnapshot(ZVOL, "tank", tags))
    assert held(nas) == {}


def test_a_repeated_request_means_the_same_snapshot(nas: Nas) -> None:
    """The answer was lost, and the host has sent a later one meanwhile."""
    first = snapshot(nas, FIRST)
    put(nas, LOCAL, "vmc-0-0", first.guid)
    request = HoldSnapshot(ZVOL, "tank", (unfinished_tag("monday"),), True)
    assert holder(nas).hold(request)["name"] == FIRST
    nas.pools.ensure_snapshot(VOLUME, nas.records.known[ZVOL].volume_guid or "", "later", {})
    put(nas, LOCAL, "vmc-0-0", snapshot(nas, "later").guid)
    assert holder(nas).hold(request)["name"] == FIRST
    holder(nas).hold(HoldSnapshot(ZVOL, "tank", (PART,), guid=first.guid))
    holder(nas).release(ReleaseSnapshot(ZVOL, "tank", "monday", is_unfinished=True))
    assert held(nas) == {FIRST: (PART,)}


def test_another_machine_of_the_name_releases_nothing(nas: Nas) -> None:
    holder(nas).hold(HoldSnapshot(ZVOL, "tank", (PART,)))
    with pytest.raises(StateError, match="belongs to another machine"):
        holder(nas).release(ReleaseSnapshot(ZVOL, "tank", "monday", machine=MACHINE.replace("1", "9")))
    assert held(nas) == {FIRST: (PART,)}


def test_for_a_destruction_by_force_all_are_released(nas: Nas) -> None:
    """Unless a host has the image, or a clone, another's hold or another volume of its name prevents it."""
    held_snapshots = holder(nas)
    held_snapshots.hold(HoldSnapshot(ZVOL, "tank", (PART, moment_tag("monday", FROZEN))))
    image, first = nas.records.known[ZVOL], snapshot(nas, FIRST)
    both = held(nas)
    held_snapshots.release_for_destruction(replace(image, state=LOCAL, owner="vmc-0-0"))
    held_snapshots.release_for_destruction(replace(image, volume_guid="1"))
    nas.pools.ensure_clones({"tank/other-vol": f"{VOLUME}@{FIRST}"}, {f"{VOLUME}@{FIRST}": first.guid}, {})
    held_snapshots.release_for_destruction(image)
    clone = nas.pools.read_volume("tank/other-vol")
    nas.pools.ensure_volume_gone(clone.name, clone.guid)
    nas.pools.ensure_hold(VOLUME, FIRST, first.guid, "somebody-else")
    held_snapshots.release_for_destruction(image)
    nas.pools.ensure_released(VOLUME, FIRST, first.guid, "somebody-else")
    assert held(nas) == both
    held_snapshots.release_for_destruction(image)
    assert held(nas) == {}
