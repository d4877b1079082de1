"""What a receiver takes from a sender that sends anything."""

import io
import json
from typing import Any

import pytest

from rocks.core.clock import Deadline
from rocks.core.errors import BusyError, IncoherentError
from rocks.storage.image.transfers import largest_move_bytes, largest_stream_bytes
from rocks.storage.stream.dialogue import Source, receive_all
from rocks.storage.stream.frames import FrameWriter
from rocks.storage.zfs.facts import SendSpec, SnapshotFact
from tests.fakes.zfs import FakePools

MIB, BLOCK, FRAME = 2**20, 16384, 2**18
VOLUME, COPY = "tank/vm-vol", "tank/copy"


def source_pool() -> tuple[FakePools, list[SnapshotFact]]:
    """A volume with two snapshots of 2 MiB each."""
    pools = FakePools({"tank": 2**30})
    pools.ensure_volume(VOLUME, 16 * MIB, BLOCK)
    fact = pools.read_volume(VOLUME)
    snapshots = []
    for number in range(2):
        pools.write(VOLUME, bytes([number + 1]) * 2 * MIB, number * 2 * MIB)
        snapshots.append(pools.ensure_snapshot(VOLUME, fact.guid, f"snap-{number}", {}))
    return pools, snapshots


def stream(pools: FakePools, to: SnapshotFact, start: SnapshotFact | None = None) -> bytes:
    spec = SendSpec(
        VOLUME, to.name, to.guid, None if start is None else start.name, None, start and start.guid
    )
    send = pools.start_send(spec)
    data = send.stream.read()
    send.finish(Deadline(5))
    return data


def dialogue(*streams: tuple[dict[str, Any], bytes], end: bool = True) -> io.BytesIO:
    """What a sender sends: its lines, and the streams in frames."""
    target = io.BytesIO()
    target.write(json.dumps({"aborts_partial": False}).encode() + b"\n")
    for line, data in streams:
        target.write(json.dumps(line).encode() + b"\n")
        writer = FrameWriter(target)
        for start in range(0, len(data), FRAME):
            writer.data(data[start : start + FRAME])
        writer.end()
    if end:
        target.write(json.dumps({"how": "end"}).encode() + b"\n")
    target.seek(0)
    return target


def line(how: str = "full", start: SnapshotFact | None = None, stated: Any = 0) -> dict[str, Any]:
    return {"how": how, "to": "any", "from_guid": start and start.guid, "bytes": stated}


def received(reader: io.BytesIO, pools: FakePools, largest_bytes: int = 2**30) -> None:
    receive_all(pools, COPY, reader, Source("vmc-0-7", largest_bytes), lambda part, total: None)


def test_streams_of_a_snapshot_are_received() -> None:
    """A stream, and one more."""
    theirs, (one, two) = source_pool()
    ours = FakePools({"tank": 2**30})
    received(dialogue((line(), stream(theirs, one)), (line("snapshot", one), stream(theirs, two, one))), ours)
    assert ours.content(COPY) == theirs.content(VOLUME)


def test_a_stream_beyond_the_bound_is_destroyed() -> None:
    """Of a new volume all of it; of an existing one only the new part. The stated size does not count."""
    theirs, (one, two) = source_pool()
    ours = FakePools({"tank": 2**30})
    text = r"^vmc-0-7 sent more than 1.0 MiB for tank/copy, .* is destroyed.* rocks remove host certificate vmc-0-7$"
    with pytest.raises(IncoherentError, match=text):
        received(dialogue((line(stated=100), stream(theirs, one))), ours, 1_000_000)
    assert ours.list_volumes("tank") == ()
    received(dialogue((line(), stream(theirs, one))), ours)
    before = ours.read_volume(COPY)
    with pytest.raises(IncoherentError, match=text):
        received(dialogue((line("snapshot", one), stream(theirs, two, one))), ours, 1_000_000)
    assert ours.read_volume(COPY) == before
    received(dialogue((line("snapshot", one), stream(theirs, two, one))), ours)


def test_parts_of_an_interrupted_stream_count_together() -> None:
    """A sender cannot exceed the bound by a stream that it interrupts again and again."""
    theirs, (one, _) = source_pool()
    ours = FakePools({"tank": 2**30})
    whole = dialogue((line(), stream(theirs, one)))
    with pytest.raises(Exception, match="before its end"):
        received(io.BytesIO(whole.getvalue()[: 3 * MIB // 2]), ours, 2 * MIB)
    cut = ours.read_volume(COPY)
    assert cut is not None and cut.resume_token is not None
    rest = theirs.start_send(
        SendSpec(VOLUME, one.name, one.guid, resume_token=cut.resume_token)
    ).stream.read()
    with pytest.raises(IncoherentError, match="sent more than"):
        received(dialogue((line("resume"), rest)), ours, 2 * MIB)
    assert ours.list_volumes("tank") == ()


def test_only_so_many_streams() -> None:
    """More of them are never announced by a sender of ours."""
    theirs, (one, two) = source_pool()
    ours = FakePools({"tank": 2**30})
    streams = [(line(), stream(theirs, one)), (line("snapshot", one), stream(theirs, two, one))]
    with pytest.raises(IncoherentError, match="vmc-0-7 sends more than 2 streams"):
        received(dialogue(*streams, streams[1]), ours)


@pytest.mark.parametrize("stated", [-1, "much", None, True, 1.5])
def test_invalid_size(stated: Any) -> None:
    """An error of the sender, not a fault here."""
    with pytest.raises(IncoherentError, match="no valid bytes"):
        received(dialogue((line(stated=stated), b"")), FakePools({"tank": 2**30}))


def test_a_pool_without_space_for_the_stated_size() -> None:
    """Is asked before anything is received."""

    def check(size_bytes: int) -> None:
        raise BusyError(f"no space for {size_bytes}")

    theirs, (one, _) = source_pool()
    ours = FakePools({"tank": 2**30})
    reader = dialogue((line(stated=77), stream(theirs, one)))
    with pytest.raises(BusyError, match="77"):
        receive_all(ours, COPY, reader, Source("vmc-0-7", 2**30, check), lambda part, total: None)
    assert ours.list_volumes("tank") == ()


def test_bounds_leave_enough_for_any_honest_stream() -> None:
    """Every block with its record; a move of snapshots whose blocks are all embedded in their pointers."""
    for block_bytes in (512, 8192, 131072):
        blocks = 100_000
        assert largest_stream_bytes(blocks * block_bytes, block_bytes) > blocks * (block_bytes + 312)
    assert largest_stream_bytes(10 * 2**30) < 17 * 2**30
    embedded = 10**8
    assert largest_move_bytes(embedded * 128, 0) > embedded * (312 + 112)
    assert largest_move_bytes(0, 2**40) == 0
