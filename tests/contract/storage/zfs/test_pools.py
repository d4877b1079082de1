"""Volumes, their past and their streams: the same cases in memory and on ZFS.

On ZFS each command takes a tenth of a second or more, so there are few cases, each a whole story.
"""

from collections.abc import Callable

import pytest

from rocks.core.clock import Deadline
from rocks.core.errors import (
    BusyError,
    HostError,
    IncoherentError,
    PoolFullError,
    RocksError,
    StateError,
    UserError,
)
from tests.contract.outcomes import changes_once, refused
from tests.contract.storage.zfs.pool_world import (
    BLOCK,
    MIB,
    OTHER_GUID,
    SIZE,
    World,
    make_volume,
    soon,
    take_snapshot,
)

MAX_METADATA_BYTES = 128 * 1024


def twice(act: Callable[..., None]) -> Callable[..., None]:
    """A command that a concurrent process runs just before."""

    def both(*arguments: object) -> None:
        act(*arguments)
        act(*arguments)

    return both


def test_a_volume(world: World) -> None:
    """Made, grown, marked, reserved and destroyed, each as often as one likes, and only the one that is meant."""
    pools, volume = world.pools, f"{world.here}/vm-vol"
    assert pools.read_volume(volume) is None
    assert pools.list_volumes(world.here) == ()
    changes_once(pools.ensure_volume, volume, SIZE, BLOCK)
    fact = pools.read_volume(volume)
    assert fact is not None and pools.list_volumes(world.here) == (fact,)
    assert fact[:1] + fact[2:4] == (volume, SIZE, BLOCK)
    assert fact[6:10] == (0, None, None, ()) and int(fact.guid) > 0 and not fact.is_synchronous
    # a volume without a snapshot has always written something
    assert 0 < fact.written_bytes < MAX_METADATA_BYTES
    refused(IncoherentError, f"exists with {SIZE} bytes", pools.ensure_volume, volume, 2 * SIZE, BLOCK)
    refused(StateError, "not a volume", pools.read_volume, world.here)

    changes_once(pools.ensure_size, volume, fact.guid, 2 * SIZE)
    refused(StateError, "cannot shrink", pools.ensure_size, volume, fact.guid, SIZE)
    with pytest.raises(UserError, match="not a multiple of its volblocksize"):
        pools.ensure_size(volume, fact.guid, 2 * SIZE + 512)
    refused(IncoherentError, "nothing was changed", pools.ensure_size, volume, OTHER_GUID, 4 * SIZE)

    markers = {"imgstore:epoch": "7", "imgstore:owner": "vmh1"}
    changes_once(pools.ensure_properties, volume, fact.guid, markers)
    refused(IncoherentError, "", pools.ensure_properties, volume, OTHER_GUID, {"imgstore:epoch": "8"})
    changes_once(pools.ensure_reserved, volume, fact.guid, MIB)
    grown = pools.read_volume(volume)
    assert (grown.size_bytes, grown.reserved_bytes) == (2 * SIZE, MIB)
    assert dict(grown.properties) == markers and grown.used_bytes >= MIB

    world.write(volume, b"a" * BLOCK)
    for changes, error in (({"guid": OTHER_GUID}, IncoherentError), ({"may_lose_bytes": BLOCK}, StateError)):
        arguments = {"guid": fact.guid, **changes}
        with pytest.raises(error):
            pools.ensure_volume_gone(volume, **arguments)  # type: ignore[arg-type]
    world.open_device(volume)
    refused(BusyError, "in use", pools.ensure_volume_gone, volume, fact.guid, may_lose_bytes=None)
    world.close_device(volume)
    assert pools.ensure_volume_gone(volume, fact.guid, may_lose_bytes=None).changed
    assert not pools.ensure_volume_gone(volume, fact.guid).changed
    assert pools.list_volumes(world.here) == ()


def test_a_pool(world: World) -> None:
    """What is free; what does not fit is refused; a pool that is not there is no empty pool."""
    pools, (volume, guid) = world.pools, make_volume(world, "vm-vol")
    world.leave_free(4 * MIB)
    pool = pools.read_pool(world.here)
    assert world.here.partition("/")[0] in pools.list_pools() and "nowhere" not in pools.list_pools()
    assert pool.free_bytes <= 4 * MIB < pool.size_bytes + 4 * MIB and pool.health == "ONLINE"
    with pytest.raises(PoolFullError, match="the pool is full"):
        pools.ensure_volume(f"{world.here}/cow", SIZE, BLOCK, reserve_bytes=SIZE)
    refused(PoolFullError, "the pool is full", pools.ensure_reserved, volume, guid, SIZE)
    mark = {"imgstore:mark": "yes"}
    assert pools.ensure_volume(f"{world.here}/cow", SIZE, BLOCK, reserve_bytes=MIB, properties=mark).changed
    made = pools.read_volume(f"{world.here}/cow")
    assert made is not None and made.property_value("imgstore:mark") == "yes"
    assert pools.read_volume(f"{world.here}/vm") is None  # a part of a name is not the name
    for ask in (pools.read_pool, pools.list_volumes):
        refused(StateError, "has no ZFS pool nowhere", ask, "nowhere")
    for look in (pools.read_volume, pools.read_history):
        refused(StateError, "has no ZFS pool nowhere", look, "nowhere/vm-vol")
    refused(StateError, "has no ZFS pool nowhere", pools.read_volumes, (volume, "nowhere/vm-vol"))
    refused(StateError, "has no ZFS pool nowhere", pools.read_guids, ("nowhere/vm-vol@one",))
    refused(StateError, "has no ZFS pool nowhere", pools.ensure_volume_gone, "nowhere/vm-vol", guid)


def test_snapshots_holds_and_bookmarks(world: World) -> None:
    pools, (volume, guid) = world.pools, make_volume(world, "vm-vol")
    world.write(volume, b"a" * BLOCK, 3 * BLOCK)
    one = pools.ensure_snapshot(volume, guid, "img-1-1-x", {"imgstore:auto": "on"})
    assert pools.ensure_snapshot(volume, guid, "img-1-1-x", {"imgstore:auto": "on"}) == one
    assert one.is_automatic and one.holds == () and one.clones == () and one.created_seconds > 1_600_000_000
    with pytest.raises(IncoherentError, match="exists with other properties"):
        pools.ensure_snapshot(volume, guid, "img-1-1-x", {})
    refused(IncoherentError, "", pools.ensure_snapshot, volume, OTHER_GUID, "img-1-2-x", {})
    assert pools.written_since(volume, one.name, one.guid) == 0
    world.write(volume, b"b" * 2 * BLOCK, 3 * BLOCK)
    assert 2 * BLOCK // 16 < pools.written_since(volume, one.name, one.guid) < 4 * BLOCK + MAX_METADATA_BYTES
    two = take_snapshot(world, volume, "foreign")
    assert pools.read_history(volume).snapshots == (one, two) and two.createtxg > one.createtxg

    for tag in ("step", "last"):
        changes_once(pools.ensure_hold, volume, one.name, one.guid, tag)
    assert pools.read_history(volume).snapshots[0].holds == ("last", "step")
    refused(StateError, "held by last, step", pools.ensure_snapshot_gone, volume, one.name, one.guid)
    with pytest.raises(StateError, match="held by last, step"):
        pools.ensure_volume_gone(volume, guid, [(one.name, one.guid), (two.name, two.guid)])
    refused(IncoherentError, "", pools.ensure_released, volume, one.name, OTHER_GUID, "step")
    for tag in ("step", "last"):
        changes_once(pools.ensure_released, volume, one.name, one.guid, tag)

    changes_once(pools.ensure_bookmark, volume, one.name, one.guid, "cursor")
    refused(IncoherentError, "", pools.ensure_bookmark, volume, two.name, two.guid, "cursor")
    refused(StateError, "later than", pools.ensure_rolled_back, volume, guid, one.name, one.guid)
    refused(IncoherentError, "", pools.ensure_snapshot_gone, volume, one.name, OTHER_GUID)
    changes_once(pools.ensure_snapshot_gone, volume, one.name, one.guid)
    assert not pools.ensure_released(volume, one.name, one.guid, "step").changed
    refused(StateError, "no snapshot", pools.ensure_hold, volume, one.name, one.guid, "step")
    assert not pools.ensure_bookmark(volume, one.name, one.guid, "cursor").changed
    mark = pools.read_history(volume).bookmarks[0]
    assert mark == ("cursor", one.guid, one.createtxg)

    assert not pools.ensure_rolled_back(volume, guid, two.name, two.guid).changed
    world.write(volume, b"c" * BLOCK, 3 * BLOCK)
    assert pools.written_since(volume, two.name, two.guid) > 0
    refused(IncoherentError, "", pools.ensure_rolled_back, volume, guid, two.name, OTHER_GUID)
    world.open_device(volume)
    refused(BusyError, "", pools.ensure_rolled_back, volume, guid, two.name, two.guid)
    world.close_device(volume)
    assert pools.ensure_rolled_back(volume, guid, two.name, two.guid).changed
    assert world.read(volume, 2 * BLOCK, 3 * BLOCK) == b"b" * 2 * BLOCK
    assert pools.written_since(volume, two.name, two.guid) == 0
    assert not pools.ensure_rolled_back(volume, guid, two.name, two.guid).changed
    fact = pools.read_volume(volume)
    assert fact.guid == guid and fact.written_bytes <= 8192  # OpenZFS 2.1 counts 8192 here

    changes_once(pools.ensure_bookmark_gone, volume, "cursor", one.guid)


def test_no_change_is_destroyed_that_is_nowhere_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor when we were killed between the snapshots and the volume; what was decided before is then finished."""
    pools, (volume, guid) = world.pools, make_volume(world, "vm-vol")
    world.write(volume, b"a" * BLOCK)
    one, two = take_snapshot(world, volume, "one"), take_snapshot(world, volume, "two")
    both = [(one.name, one.guid), (two.name, two.guid)]
    refused(StateError, "which the request does not list", pools.ensure_volume_gone, volume, guid, both[:1])
    refused(IncoherentError, "", pools.ensure_volume_gone, volume, guid, [both[0], (two.name, OTHER_GUID)])
    world.write(volume, b"b", 2 * BLOCK)
    refused(StateError, "bytes since its snapshot two", pools.ensure_volume_gone, volume, guid, both)
    assert pools.read_history(volume).snapshots == (one, two)
    assert pools.ensure_rolled_back(volume, guid, two.name, two.guid).changed

    def die(name: str) -> None:
        if "@" not in name:
            raise KeyboardInterrupt
        destroy(name)

    destroy = world.verbs.destroy
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(world.verbs, "destroy", die)
        pools.ensure_volume_gone(volume, guid, both)
    assert pools.read_history(volume).snapshots == () and pools.read_volume(volume) is not None
    with pytest.raises(StateError, match="has no snapshot"):
        pools.ensure_volume_gone(volume, guid)  # another's decision
    assert pools.ensure_volume_gone(volume, guid, both).changed
    assert pools.read_volume(volume) is None


def test_a_concurrent_process_was_faster(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is so when we come to do it is no error."""
    pools, (volume, guid) = world.pools, make_volume(world, "vm-vol")
    for verb in ("create", "snapshot", "hold", "release", "bookmark", "destroy", "rename", "clone_all"):
        monkeypatch.setattr(world.verbs, verb, twice(getattr(world.verbs, verb)))
    assert not pools.ensure_volume(f"{world.here}/other-vol", SIZE, BLOCK).changed
    one = pools.ensure_snapshot(volume, guid, "one", {})
    assert not pools.ensure_hold(volume, "one", one.guid, "step").changed
    assert not pools.ensure_released(volume, "one", one.guid, "step").changed
    pools.ensure_bookmark(volume, "one", one.guid, "cursor")
    assert [mark.name for mark in pools.read_history(volume).bookmarks] == ["cursor"]
    pools.ensure_clones({f"{world.here}/clone": f"{volume}@one"}, {f"{volume}@one": one.guid}, {})
    clone = pools.read_volume(f"{world.here}/clone")
    assert not pools.ensure_volume_gone(clone.name, clone.guid, may_lose_bytes=None).changed
    assert not pools.ensure_snapshot_gone(volume, "one", one.guid).changed
    assert not pools.ensure_renamed(volume, guid, f"{world.here}/new-vol").changed
    assert pools.read_volume(volume) is None


def test_clones(world: World) -> None:
    """They hold what they were made of; turned round, it is theirs."""
    pools, (golden, golden_guid) = world.pools, make_volume(world, "golden")
    clone = f"{world.here}/vm-vol"
    world.write(golden, b"g" * BLOCK)
    base = take_snapshot(world, golden, "base")
    of_base, guids = {clone: f"{golden}@base"}, {f"{golden}@base": base.guid}
    refused(IncoherentError, "", pools.ensure_clones, of_base, {f"{golden}@base": OTHER_GUID}, {})
    nothing = f"{golden}@nothing"
    refused(StateError, "no snapshot", pools.ensure_clones, {clone: nothing}, {nothing: OTHER_GUID}, {})
    assert [pools.ensure_clones(of_base, guids, {}) for _ in range(2)] == [(clone,), ()]
    refused(IncoherentError, "is not a clone of", pools.ensure_clones, {golden: f"{golden}@base"}, guids, {})
    fact = pools.read_volume(clone)
    assert fact.origin == f"{golden}@base"
    assert (fact.size_bytes, fact.block_bytes) == (SIZE, BLOCK) and fact.used_bytes < MAX_METADATA_BYTES
    assert world.read(clone, BLOCK) == b"g" * BLOCK
    world.write(clone, b"c" * BLOCK, BLOCK)
    assert world.read(golden, 2 * BLOCK) == b"g" * BLOCK + bytes(BLOCK)
    assert pools.read_history(golden).snapshots[0].clones == (clone,)
    refused(StateError, f"is the origin of {clone}", pools.ensure_snapshot_gone, golden, "base", base.guid)
    with pytest.raises(StateError, match=f"is the origin of {clone}"):
        pools.ensure_volume_gone(golden, golden_guid, [("base", base.guid)], may_lose_bytes=None)

    later = take_snapshot(world, clone, "later")
    assert pools.ensure_hold(golden, "base", base.guid, "rocks-snapshot:monday:0123abcd:1-of-1").changed
    changes_once(pools.ensure_promoted, clone, fact.guid)
    turned = pools.read_volume(golden)
    assert (turned.origin, turned.guid) == (f"{clone}@base", golden_guid)
    snapshots = pools.read_history(clone).snapshots
    assert [(known.name, known.guid) for known in snapshots] == [("base", base.guid), ("later", later.guid)]
    assert pools.read_history(golden).snapshots == ()
    assert snapshots[0].holds == ("rocks-snapshot:monday:0123abcd:1-of-1",)
    assert pools.ensure_released(clone, "base", base.guid, "rocks-snapshot:monday:0123abcd:1-of-1").changed
    assert pools.ensure_renamed(clone, fact.guid, f"{world.here}/new-vol").changed
    assert pools.read_volume(golden).origin == f"{world.here}/new-vol@base"
    assert pools.ensure_volume_gone(golden, golden_guid, may_lose_bytes=None).changed


MARKED = {"imgstore:mark": "on"}


def test_many_clones_of_a_read_only_volume(world: World) -> None:
    """Its own device takes no writes, theirs do; what exists already is left, unless it is of something else. Those
    that are created get the properties."""
    pools, (base, guid) = world.pools, make_volume(world, "library-a")
    world.write(base, b"g" * BLOCK)
    changes_once(pools.ensure_read_only, base, guid)
    assert pools.read_volume(base).is_read_only
    refused(OSError, "", world.write, base, b"x" * BLOCK)
    snapshot = take_snapshot(world, base, "base")
    names = tuple(f"{world.here}/vm-{number}-vol" for number in range(5))
    later = take_snapshot(world, base, "later")
    guids = {f"{base}@base": snapshot.guid, f"{base}@later": later.guid}
    origins = dict.fromkeys(names, f"{base}@base")
    assert pools.ensure_clones(dict.fromkeys(names[:2], f"{base}@base"), guids, MARKED) == names[:2]
    world.write(names[0], b"c" * BLOCK)
    of_later = f"{world.here}/vm-of-later-vol"
    assert pools.ensure_clones({**origins, of_later: f"{base}@later"}, guids, {}) == (*names[2:], of_later)
    assert pools.ensure_clones({**origins, of_later: f"{base}@later"}, guids, MARKED) == ()
    marks = [dict(pools.read_volume(name).properties) for name in (*names, of_later)]
    assert marks == [MARKED, MARKED, {}, {}, {}, {}]
    assert pools.read_volume(of_later).origin == f"{base}@later"
    assert [world.read(name, BLOCK) for name in names] == [b"c" * BLOCK, *[b"g" * BLOCK] * 4]
    assert pools.read_history(base).snapshots[0].clones == names
    absent = f"{world.here}/absent-vol"
    assert pools.read_volumes((*names, absent)) == {name: pools.read_volume(name) for name in names}
    assert pools.read_volumes((absent,)) == pools.read_volumes(()) == pools.read_guids(()) == {}
    assert pools.read_guids((*guids, f"{base}@nothing", f"{absent}@base")) == guids
    refused(StateError, "not a volume", pools.read_volumes, (names[0], world.here))
    clone = pools.read_volume(names[1])
    assert not clone.is_read_only and clone.used_bytes < MAX_METADATA_BYTES
    assert pools.ensure_size(clone.name, clone.guid, 2 * SIZE).changed
    other = f"{world.here}/other-vol"
    base_of_other, nothing = {other: f"{base}@base"}, f"{base}@nothing"
    refused(
        IncoherentError, "has the guid", pools.ensure_clones, base_of_other, {f"{base}@base": OTHER_GUID}, {}
    )
    refused(StateError, "no snapshot", pools.ensure_clones, {other: nothing}, {nothing: OTHER_GUID}, {})
    with pytest.raises(IncoherentError, match="is not a clone of"):
        pools.ensure_clones({**base_of_other, base: f"{base}@base"}, guids, {})
    assert pools.read_volume(other) is None


def test_devices(world: World) -> None:
    """Of a volume always, of its snapshots when they are shown; a renamed volume's is under its new name."""
    pools, (volume, guid) = world.pools, make_volume(world, "vm-vol")
    assert pools.wait_for_device(volume, soon()) == f"/dev/zvol/{volume}"
    world.write(volume, b"a" * BLOCK)
    take_snapshot(world, volume, "one")
    world.write(volume, b"b" * BLOCK)
    refused(HostError, "did not appear", pools.wait_for_device, f"{volume}@one", Deadline(0))
    changes_once(pools.ensure_synchronous, volume, guid)
    assert pools.read_volume(volume).is_synchronous
    changes_once(pools.ensure_snapshots_visible, volume, guid)
    assert pools.wait_for_device(f"{volume}@one", soon()) == f"/dev/zvol/{volume}@one"
    assert world.read(f"{volume}@one", BLOCK) == b"a" * BLOCK
    changes_once(pools.ensure_snapshots_hidden, volume, guid)
    pools.ensure_renamed(volume, guid, f"{world.here}/new-vol")
    assert world.read(f"{world.here}/new-vol", BLOCK) == b"b" * BLOCK
    refused(RocksError, "", pools.wait_for_device, volume, Deadline(0))
