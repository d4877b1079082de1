"""Streams of volumes, whole and added, cut and resumed: the same cases in memory and on ZFS."""

import contextlib
import os

import pytest

from rocks.core.clock import Deadline
from rocks.core.errors import (
    HostError,
    IncoherentError,
    PoolFullError,
    StateError,
    ToolError,
)
from rocks.storage.zfs.facts import ReceiveSpec, SendSpec
from rocks.storage.zfs.pool import BEGIN_BYTES
from tests.contract.outcomes import changes_once, refused
from tests.contract.storage.zfs.pool_world import (
    BLOCK,
    MIB,
    OTHER_GUID,
    SIZE,
    World,
    make_volume,
    pump,
    soon,
    take_snapshot,
    transfer,
)


def break_off(
    world: World, send: SendSpec, receive: ReceiveSpec, max_bytes: int | None, error: type, text: str = ""
) -> int:
    """A stream that ends before its end is this error of its receiver; how many bytes it had."""
    sending, receiving = world.pools.start_send(send), world.pools.start_receive(receive)
    count = pump(sending, receiving, max_bytes)
    refused(error, text, receiving.finish, soon())
    sending.kill()
    return count


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
    """It can be taken away, by itself or as the volume that it is."""
    pools, (target, _) = world.pools, make_volume(world, "home-vol")
    world.write(target, os.urandom(2 * MIB))
    one = take_snapshot(world, target, "one")
    for name in ("partial", "doomed"):
        spec = ReceiveSpec(f"{world.here}/{name}")
        break_off(world, SendSpec(target, "one", one.guid), spec, 1_500_000, ToolError)
    names = [fact.name.rpartition("/")[2] for fact in pools.list_volumes(world.here)]
    assert names == ["doomed", "home-vol", "partial"]
    changes_once(pools.ensure_partial_gone, f"{world.here}/partial")
    assert pools.read_volume(f"{world.here}/partial") is None
    doomed = pools.read_volume(f"{world.here}/doomed")
    refused(IncoherentError, "", pools.ensure_volume_gone, doomed.name, OTHER_GUID, may_lose_bytes=None)
    assert pools.ensure_volume_gone(doomed.name, doomed.guid, may_lose_bytes=None).changed


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
