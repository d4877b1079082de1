"""Streams of a hostile or damaged sender: nothing but one snapshot of a volume is received, in memory and on ZFS."""

import struct
from collections.abc import Callable

import pytest

from rocks.core.errors import IncoherentError, ToolError
from rocks.storage.zfs.facts import ReceiveSpec, SendSpec
from rocks.storage.zfs.pool import BEGIN_BYTES, FIELDS
from tests.contract.outcomes import refused
from tests.contract.storage.zfs.pool_world import BLOCK, World, make_volume, soon, take_snapshot, transfer

SENDER = "vmc-0-7"


def rejected(world: World, spec: ReceiveSpec, stream: bytes, text: str, piece_bytes: int = 65536) -> None:
    """The stream is rejected with that text, which names the sender, and changes nothing."""
    before = world.names()
    receive = world.pools.start_receive(spec._replace(sender=SENDER))
    with pytest.raises(IncoherentError, match=f"^{SENDER} sent .*{text}.* for {spec.volume}"):
        for start in range(0, len(stream), piece_bytes):
            receive.stream.write(stream[start : start + piece_bytes])
    refused(BrokenPipeError, "", receive.stream.write, b"more")
    refused(IncoherentError, SENDER, receive.finish, soon())
    receive.kill()
    assert world.names() == before


def sent(world: World, spec: SendSpec) -> bytes:
    send = world.pools.start_send(spec)
    stream = send.stream.read()
    send.finish(soon())
    return stream


def changed(stream: bytes, change: Callable[[list[object]], None]) -> bytes:
    """The stream with other fields in its first record."""
    fields: list[object] = list(struct.unpack_from(f"<{FIELDS}", stream))
    change(fields)
    return struct.pack(f"<{FIELDS}", *fields) + stream[BEGIN_BYTES:]


def test_only_a_snapshot_of_a_volume_is_received(world: World) -> None:
    """No file system and no package, neither as a new volume nor into an existing one, nor in small pieces."""
    volume, _ = make_volume(world, "home-vol")
    one = take_snapshot(world, volume, "one")
    stream = sent(world, SendSpec(volume, "one", one.guid))
    new, copy = ReceiveSpec(f"{world.here}/new-vol"), ReceiveSpec(f"{world.here}/copy-vol")
    transfer(world.pools.start_send(SendSpec(volume, "one", one.guid)), world.pools.start_receive(copy))
    file_system, package = world.file_system_stream(), world.package(volume, "one")
    for spec in (new, copy._replace(base_guid=one.guid)):
        rejected(world, spec, file_system, "a stream of a file system")
        rejected(world, spec, package, "a package of streams")
        rejected(world, spec, b"nonsense" * 1000, "no ZFS stream")
    rejected(world, new, file_system, "a stream of a file system", piece_bytes=7)

    def named(name: bytes) -> bytes:
        return changed(stream, lambda fields: fields.__setitem__(-1, name))

    rejected(world, new, named(b"tank/vol@two words"), "a snapshot of the name 'tank/vol@two words'")
    rejected(world, new, named(b"tank/vol"), "a snapshot of the name 'tank/vol'")
    short = world.pools.start_receive(new)
    short.stream.write(stream[: BEGIN_BYTES - 1])
    refused(ToolError, "", short.finish, soon())
    whole = world.pools.start_receive(new)
    for at in range(0, BEGIN_BYTES + 50):
        whole.stream.write(stream[at : at + 1])
    whole.stream.write(stream[BEGIN_BYTES + 50 :])
    whole.finish(soon())
    assert world.pools.read_history(new.volume).newest.guid == one.guid


def test_stream_has_the_announced_source(world: World) -> None:
    """A stream from another snapshot of the pool would become a clone of a foreign image."""
    volume, _ = make_volume(world, "home-vol")
    one = take_snapshot(world, volume, "one")
    world.write(volume, b"x" * BLOCK)
    two = take_snapshot(world, volume, "two")
    added = sent(world, SendSpec(volume, "two", two.guid, from_snapshot="one", from_guid=one.guid))
    new = ReceiveSpec(f"{world.here}/new-vol")
    rejected(world, new, added, f"a stream from the snapshot {one.guid} instead of nothing")
    copy = ReceiveSpec(f"{world.here}/copy-vol")
    whole = SendSpec(volume, "one", one.guid)
    transfer(world.pools.start_send(whole), world.pools.start_receive(copy))
    into = copy._replace(base_guid=one.guid)
    rejected(world, into, sent(world, whole), f"a stream from nothing instead of the snapshot {one.guid}")
    assert world.pools.read_volume(new.volume) is None
    assert world.pools.read_history(copy.volume).newest.guid == one.guid
