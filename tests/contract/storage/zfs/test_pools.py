"""Volumes, their past and their streams: the same cases in memory and on ZFS.

On ZFS each command takes a tenth of a second or more, so there are few cases, each a whole story.
"""

import contextlib
import os
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
    ToolError,
    UserError,
)
from rocks.storage.zfs.begin_record import BEGIN_BYTES
from rocks.storage.zfs.facts import ReceiveSpec, SendSpec
from tests.contract.outcomes import changes_once, refused
from tests.contract.storage.zfs.pool_world import (
    BLOCK,
    MIB,
    SIZE,
    World,
    make_volume,
    pump,
    soon,
    take_snapshot,
    transfer,
)

OTHER_GUID = "1234"
MAX_METADATA_BYTES = 128 * 1024


def twice(act: Callable[..., None]) -> Callable[..., None]:
    """A command that a concurrent process runs just before."""

    def both(*arguments: object) -> None:
        act(*arguments)
        act(*arguments)

    return both


def break_off(
    world: World, send: SendSpec, receive: ReceiveSpec, max_bytes: int | None, error: type, text: str = ""
) -> int:
    """A stream that ends before its end is this error of its receiver; how many bytes it had."""
    sending, receiving = world.pools.start_send(send), world.pools.start_receive(receive)
    count = pump(sending, receiving, max_bytes)
    refused(error, text, receiving.finish, soon())
    sending.kill()
    return count


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
    assert pools.ensure_volume(f"{world.here}/cow", SIZE, BLOCK, reserve_bytes=MIB).changed
    assert pools.read_volume(f"{world.here}/vm") is None  # a part of a name is not the name
    for ask in (pools.read_pool, pools.list_volumes):
        refused(StateError, "has no ZFS pool nowhere", ask, "nowhere")
    for look in (pools.read_volume, pools.read_history):
        refused(StateError, "has no ZFS pool nowhere", look, "nowhere/vm-vol")
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
    for verb in ("create", "snapshot", "hold", "release", "bookmark", "destroy", "rename", "clone"):
        monkeypatch.setattr(world.verbs, verb, twice(getattr(world.verbs, verb)))
    assert not pools.ensure_volume(f"{world.here}/other-vol", SIZE, BLOCK).changed
    one = pools.ensure_snapshot(volume, guid, "one", {})
    assert not pools.ensure_hold(volume, "one", one.guid, "step").changed
    assert not pools.ensure_released(volume, "one", one.guid, "step").changed
    pools.ensure_bookmark(volume, "one", one.guid, "cursor")
    assert [mark.name for mark in pools.read_history(volume).bookmarks] == ["cursor"]
    assert not pools.ensure_clone(f"{world.here}/clone", f"{volume}@one", one.guid).changed
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
    refused(IncoherentError, "", pools.ensure_clone, clone, f"{golden}@base", OTHER_GUID)
    refused(StateError, "no snapshot", pools.ensure_clone, clone, f"{golden}@nothing", OTHER_GUID)
    changes_once(pools.ensure_clone, clone, f"{golden}@base", base.guid)
    refused(IncoherentError, "is not a clone of", pools.ensure_clone, golden, f"{golden}@base", base.guid)
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


def test_many_clones_of_a_read_only_volume(world: World) -> None:
    """Its own device takes no writes, theirs do; what exists already is left, unless it is of something else."""
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
    assert pools.ensure_clones(dict.fromkeys(names[:2], f"{base}@base"), guids) == names[:2]
    world.write(names[0], b"c" * BLOCK)
    of_later = f"{world.here}/vm-of-later-vol"
    assert pools.ensure_clones({**origins, of_later: f"{base}@later"}, guids) == (*names[2:], of_later)
    assert pools.ensure_clones({**origins, of_later: f"{base}@later"}, guids) == ()
    assert pools.read_volume(of_later).origin == f"{base}@later"
    assert [world.read(name, BLOCK) for name in names] == [b"c" * BLOCK, *[b"g" * BLOCK] * 4]
    assert pools.read_history(base).snapshots[0].clones == names
    clone = pools.read_volume(names[1])
    assert not clone.is_read_only and clone.used_bytes < MAX_METADATA_BYTES
    assert pools.ensure_size(clone.name, clone.guid, 2 * SIZE).changed
    other = f"{world.here}/other-vol"
    base_of_other, nothing = {other: f"{base}@base"}, f"{base}@nothing"
    refused(IncoherentError, "has the guid", pools.ensure_clones, base_of_other, {f"{base}@base": OTHER_GUID})
    refused(StateError, "no snapshot", pools.ensure_clones, {other: nothing}, {nothing: OTHER_GUID})
    with pytest.raises(IncoherentError, match="is not a clone of"):
        pools.ensure_clones({**base_of_other, base: f"{base}@base"}, guids)
    assert pools.read_volume(other) is None


def test_whole_and_added(world: World) -> None:
    """A seed made whole beside its place, then moved there; later only what changed, from a bookmark."""
    pools, (target, nas_guid) = world.pools, make_volume(world, "home-vol")
    seed, copy = f"{world.here}/.seed/copy-vol", f"{world.here}/copy-vol"
    first = os.urandom(MIB)
    world.write(target, first)
    one = take_snapshot(world, target, "one", {"imgstore:auto": "on"})
    whole = SendSpec(target, "one", one.guid)
    estimate = pools.estimate_send(whole)
    transferred = transfer(pools.start_send(whole), pools.start_receive(ReceiveSpec(seed)))
    assert MIB < transferred < 1.1 * MIB and 0.9 < estimate / transferred < 1.1
    received = pools.read_history(seed).newest
    assert (received.name, received.guid) == ("one", one.guid)
    assert not received.is_automatic  # properties are not sent
    fact = pools.read_volume(seed)
    assert (fact.size_bytes, fact.written_bytes, fact.resume_token) == (SIZE, 0, None)
    assert fact.reserved_bytes == 0

    refused(IncoherentError, "", pools.ensure_renamed, seed, OTHER_GUID, copy)
    changes_once(pools.ensure_renamed, seed, fact.guid, copy)
    refused(IncoherentError, "", pools.ensure_renamed, seed, fact.guid, target)
    assert world.read(copy, MIB) == first
    refused(StateError, "but the stream would create it", pools.start_receive, ReceiveSpec(copy))

    pools.ensure_bookmark(target, "one", one.guid, "cursor")
    pools.ensure_snapshot_gone(target, "one", one.guid)
    world.write(target, b"2" * 512 + os.urandom(BLOCK), 5 * BLOCK)
    world.write(target, bytes(BLOCK))
    two = take_snapshot(world, target, "two")
    added = SendSpec(target, "two", two.guid, from_bookmark="cursor", from_guid=one.guid)
    for wrong in (added._replace(to_guid=OTHER_GUID), added._replace(from_guid=OTHER_GUID)):
        refused(IncoherentError, "", pools.start_send, wrong)
    for gone in (added._replace(from_bookmark="other"), added._replace(to_name="three")):
        refused(StateError, "", pools.start_send, gone)
    transferred = transfer(pools.start_send(added), pools.start_receive(ReceiveSpec(copy, one.guid)))
    assert 2 * BLOCK < transferred < 4 * BLOCK
    assert world.read(copy, MIB) == world.read(target, MIB) != first
    again = pools.read_volume(copy)
    assert (again.guid, again.written_bytes) == (fact.guid, 0)

    # nothing of the receiver is ever undone for a stream
    three = take_snapshot(world, target, "three")
    more = SendSpec(target, "three", three.guid, from_snapshot="two", from_guid=two.guid)
    refused(IncoherentError, "is not at the guid", pools.start_receive, ReceiveSpec(copy, one.guid))
    world.write(copy, b"x", 0)
    with pytest.raises(IncoherentError, match="which a receive would roll back"):
        pools.start_receive(ReceiveSpec(copy, two.guid))
    assert pools.ensure_rolled_back(copy, fact.guid, "two", two.guid).changed
    transfer(pools.start_send(more), pools.start_receive(ReceiveSpec(copy, two.guid)))
    fork = take_snapshot(world, copy, "fork")
    with pytest.raises(IncoherentError, match=f"its newest snapshot is fork with {fork.guid}"):
        pools.start_receive(ReceiveSpec(copy, three.guid))
    refused(StateError, "no volume", pools.start_receive, ReceiveSpec(f"{world.here}/nothing", three.guid))
    assert pools.read_history(target).newest.guid == three.guid
    assert not pools.ensure_volume_gone(seed, fact.guid).changed
    assert world.pools.read_volume(target) is not None and nas_guid != fact.guid


def test_a_volume_that_grows_after_its_snapshot(world: World) -> None:
    """It counts as written, without a write; the increment gives its copy the size; a rollback, the former one."""
    pools, (target, guid) = world.pools, make_volume(world, "home-vol")
    copy = f"{world.here}/copy-vol"
    world.write(target, os.urandom(BLOCK))
    one = take_snapshot(world, target, "one")
    transfer(pools.start_send(SendSpec(target, "one", one.guid)), pools.start_receive(ReceiveSpec(copy)))
    assert world.read(copy, BLOCK) == world.read(target, BLOCK)
    assert pools.written_since(target, "one", one.guid) == 0
    assert pools.ensure_size(target, guid, 2 * SIZE).changed
    assert pools.written_since(target, "one", one.guid) > 0
    two = take_snapshot(world, target, "two")
    world.write(target, b"3" * BLOCK, 2 * SIZE - BLOCK)
    three = take_snapshot(world, target, "three")
    for before, after in ((one, two), (two, three)):
        spec = SendSpec(target, after.name, after.guid, from_snapshot=before.name, from_guid=before.guid)
        transfer(pools.start_send(spec), pools.start_receive(ReceiveSpec(copy, before.guid)))
        fact = pools.read_volume(copy)
        assert (fact.size_bytes, fact.written_bytes) == (2 * SIZE, 0)
        assert len(world.read(copy, BLOCK, 2 * SIZE - BLOCK)) == BLOCK  # its device, too
    assert world.read(copy, BLOCK, 2 * SIZE - BLOCK) == b"3" * BLOCK
    pools.ensure_snapshot_gone(target, "three", three.guid)
    pools.ensure_snapshot_gone(target, "two", two.guid)
    assert pools.ensure_rolled_back(target, guid, "one", one.guid).changed
    assert pools.read_volume(target).size_bytes == SIZE


def test_a_stream_that_is_no_good(world: World) -> None:
    """A damaged or wrong stream changes nothing."""
    pools, (target, _) = world.pools, make_volume(world, "home-vol")
    copy = f"{world.here}/copy-vol"
    one = take_snapshot(world, target, "one")
    transfer(pools.start_send(SendSpec(target, "one", one.guid)), pools.start_receive(ReceiveSpec(copy)))
    before = pools.read_volume(copy)
    world.write(target, os.urandom(BLOCK))
    two = take_snapshot(world, target, "two")
    send = pools.start_send(SendSpec(target, "two", two.guid, from_snapshot="one", from_guid=one.guid))
    begin = send.stream.read(BEGIN_BYTES)
    send.kill()
    receive = pools.start_receive(ReceiveSpec(copy, one.guid))
    with contextlib.suppress(BrokenPipeError):  # ZFS reads the beginning and ends
        receive.stream.write(begin + b"nonsense" * 1000)
    refused(ToolError, "", receive.finish, soon())
    receive.kill()
    pools.ensure_partial_gone(copy)
    empty = pools.start_receive(ReceiveSpec(f"{world.here}/empty-vol"))
    refused(ToolError, "", empty.finish, soon())
    assert pools.read_volume(copy) == before
    assert pools.read_volume(f"{world.here}/empty-vol") is None
    unread = pools.start_send(SendSpec(target, "one", one.guid))
    unread.kill()
    refused(ToolError, "", unread.finish, soon())


def test_cut_and_resumed(world: World) -> None:
    """What came before the cut is not sent again; and a cut stream whose start is gone is no dead end."""
    pools, (target, _) = world.pools, make_volume(world, "home-vol")
    copy = f"{world.here}/.seed/copy-vol"
    world.write(target, os.urandom(3 * MIB))
    one = take_snapshot(world, target, "one")
    whole = SendSpec(target, "one", one.guid)
    assert break_off(world, whole, ReceiveSpec(copy), 2 * MIB, ToolError, "incomplete stream") == 2 * MIB
    partial = pools.read_volume(copy)
    assert partial.size_bytes == 0 and partial.resume_token is not None
    assert pools.list_volumes(world.here)[0] == partial and pools.read_history(copy).snapshots == ()
    refused(HostError, "", pools.wait_for_device, copy, Deadline(0))
    token = pools.decode_token(partial.resume_token)
    assert (token.to_guid, token.from_guid, token.to_name) == (one.guid, None, f"{target}@one")
    assert MIB < token.bytes_done < 2.1 * MIB
    refused(StateError, "has a partial receive: resume or discard it", pools.start_receive, ReceiveSpec(copy))
    refused(StateError, "resume token is invalid", pools.decode_token, partial.resume_token[:-4])

    rest = whole._replace(resume_token=partial.resume_token)
    with pytest.raises(StateError, match="the resume token is for a stream from nothing"):
        pools.start_send(rest._replace(from_guid=OTHER_GUID))
    assert pools.estimate_send(rest) < 2.2 * MIB
    transferred = transfer(pools.start_send(rest), pools.start_receive(ReceiveSpec(copy, is_resumed=True)))
    assert 0.9 * MIB < transferred < 2.2 * MIB
    assert world.read(copy, 3 * MIB) == world.read(target, 3 * MIB)
    with pytest.raises(StateError, match="has no partial receive to resume"):
        pools.start_receive(ReceiveSpec(copy, is_resumed=True))
    assert not pools.ensure_partial_gone(copy).changed

    # the increment is cut by a kill, once with its start only a bookmark, then with it gone
    world.write(target, os.urandom(3 * MIB), MIB)
    two = take_snapshot(world, target, "two")
    added = SendSpec(target, "two", two.guid, from_snapshot="one", from_guid=one.guid)
    send, receive = pools.start_send(added), pools.start_receive(ReceiveSpec(copy, one.guid))
    pump(send, receive, 2 * MIB)  # of which a pipe may hold 1 MiB; the rest was taken in
    receive.kill()
    receive.kill()
    send.kill()
    refused(ToolError, "was killed", receive.finish, soon())
    cut = pools.read_volume(copy)
    assert (cut.size_bytes, cut.written_bytes) == (SIZE, 0)
    assert cut.resume_token is not None
    began = pools.read_history(copy).newest
    assert began is not None and began.clones == (f"{copy}/%recv",)  # where ZFS keeps what came
    refused(StateError, "is the origin of", pools.ensure_volume_gone, copy, cut.guid, [("one", one.guid)])
    pools.ensure_bookmark(target, "one", one.guid, "cursor")
    pools.ensure_snapshot_gone(target, "one", one.guid)
    rest = added._replace(from_snapshot=None, from_bookmark="cursor", resume_token=cut.resume_token)
    break_off(world, rest, ReceiveSpec(copy, is_resumed=True), 256 * 1024, ToolError)
    pools.ensure_bookmark_gone(target, "cursor", one.guid)
    cut = pools.read_volume(copy)
    assert cut.resume_token is not None
    assert pools.decode_token(cut.resume_token).from_guid == one.guid
    with pytest.raises(StateError, match="no longer has the snapshot or bookmark"):
        pools.start_send(rest._replace(resume_token=cut.resume_token))
    changes_once(pools.ensure_partial_gone, copy)
    same = pools.read_volume(copy)
    assert (same.guid, same.resume_token) == (cut.guid, None)
    newest = pools.read_history(copy).newest
    assert (newest.guid, newest.clones) == (one.guid, ())


def test_what_a_cut_stream_leaves(world: World) -> None:
    """Nothing when it could not be resumed; else it can be taken away, by itself or as the volume that it is."""
    pools, (target, _) = world.pools, make_volume(world, "home-vol")
    world.write(target, os.urandom(2 * MIB))
    one = take_snapshot(world, target, "one")
    for name, resumable in (("none", False), ("partial", True), ("doomed", True)):
        spec = ReceiveSpec(f"{world.here}/{name}", resumable=resumable)
        break_off(world, SendSpec(target, "one", one.guid), spec, 1_500_000, ToolError)
    names = [fact.name.rpartition("/")[2] for fact in pools.list_volumes(world.here)]
    assert names == ["doomed", "home-vol", "partial"]
    changes_once(pools.ensure_partial_gone, f"{world.here}/partial")
    assert pools.read_volume(f"{world.here}/partial") is None
    doomed = pools.read_volume(f"{world.here}/doomed")
    refused(IncoherentError, "", pools.ensure_volume_gone, doomed.name, OTHER_GUID, may_lose_bytes=None)
    assert pools.ensure_volume_gone(doomed.name, doomed.guid, may_lose_bytes=None).changed


def test_a_clone_is_sent_as_its_difference(world: World) -> None:
    """To where the golden snapshot is already, by its guid; when it is cut, the rest is."""
    pools, (golden, _) = world.pools, make_volume(world, "golden")
    # another pool, as on another machine: within one, ZFS finds what a token means by its guid, and that has two of it
    far, clone = world.elsewhere(), f"{world.here}/vm-vol"
    world.write(golden, os.urandom(MIB))
    base = take_snapshot(world, golden, "base")
    whole = SendSpec(golden, "base", base.guid)
    transfer(pools.start_send(whole), pools.start_receive(ReceiveSpec(f"{far}/golden")))
    pools.ensure_clone(clone, f"{golden}@base", base.guid)
    world.write(clone, os.urandom(2 * MIB), 100 * BLOCK)
    one = take_snapshot(world, clone, "one")
    send = SendSpec(clone, "one", one.guid, from_snapshot=f"{golden}@base", from_guid=base.guid)
    spec = ReceiveSpec(f"{far}/copy", base.guid, origin=f"{far}/golden@base")
    refused(IncoherentError, "", pools.start_send, send._replace(from_guid=OTHER_GUID))
    with pytest.raises(StateError, match="to clone .* from"):
        pools.start_receive(spec._replace(origin=f"{far}/golden@nothing"))
    break_off(world, send, spec, 1_500_000, ToolError)
    cut = pools.read_volume(spec.volume)
    assert cut.resume_token is not None
    assert pools.decode_token(cut.resume_token).from_guid == base.guid
    rest = send._replace(resume_token=cut.resume_token)
    resumed = spec._replace(is_resumed=True)
    assert transfer(pools.start_send(rest), pools.start_receive(resumed)) < 1.2 * MIB
    fact = pools.read_volume(f"{far}/copy")
    assert fact.origin == f"{far}/golden@base"
    assert world.read(fact.name, 4 * MIB) == world.read(clone, 4 * MIB)


def test_a_receive_into_a_full_pool(world: World) -> None:
    """The error names the full pool; the received part is preserved until there is free space."""
    pools, (target, _) = world.pools, make_volume(world, "home-vol")
    copy = f"{world.here}/copy-vol"
    world.write(target, os.urandom(6 * MIB))
    one = take_snapshot(world, target, "one")
    world.leave_free(2 * MIB)
    whole = SendSpec(target, "one", one.guid)
    break_off(world, whole, ReceiveSpec(copy), None, PoolFullError, "the pool is full")
    fact = pools.read_volume(copy)
    assert fact.resume_token is not None
    world.leave_free(64 * MIB)
    rest = whole._replace(resume_token=fact.resume_token)
    transfer(pools.start_send(rest), pools.start_receive(ReceiveSpec(copy, is_resumed=True)))
    assert world.read(copy, 6 * MIB) == world.read(target, 6 * MIB)


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
