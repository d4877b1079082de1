"""The dialogue of a transfer before and between its streams: lines of JSON, planned by guid.

The receiver sends its snapshots and the token of an interrupted stream. The sender plans, and announces each stream
by a line before its frames. Neither end rolls back to make a stream fit.
"""

from __future__ import annotations

from typing import Any, BinaryIO, Callable, Dict, Mapping, NamedTuple, Optional, Sequence

from rocks.core.clock import Deadline, monotonic_seconds
from rocks.core.errors import BusyError, IncoherentError, RocksError, StateError
from rocks.core.values import size_text
from rocks.storage.image.transfers import Diverged, Point, SendPlan, SendStep, Token, plan_send
from rocks.storage.stream.frames import FRAME_BYTES, FrameWriter, number, read_frames, receive_line, send_line
from rocks.storage.stream.pace import Bucket
from rocks.storage.zfs.facts import ReceiveSpec, SendSpec
from rocks.storage.zfs.pool import PoolDriver
from rocks.storage.zfs.tool import Transfer

CountPart = Callable[[int], None]
"""Called with the bytes of each part; may raise to end the transfer, which is resumable."""

_FINISH_SECONDS = 300.0
_PRESERVE_SECONDS = 30.0


def send_program(program: Transfer, writer: BinaryIO, bucket: Bucket, count: CountPart) -> None:
    """Send the program's output, and the end only when the program has succeeded.

    A failure of the program is sent to the far end, and raised here.
    """
    frames = FrameWriter(writer)
    try:
        while True:
            payload = program.stream.read(FRAME_BYTES)
            if not payload:
                break
            bucket.pause(bucket.take(len(payload), monotonic_seconds()))
            frames.data(payload)
            count(len(payload))
        program.finish(Deadline(_FINISH_SECONDS))
        frames.end()
    except RocksError as error:
        frames.error(error)
        raise
    finally:
        program.kill()


def receive_program(reader: BinaryIO, program: Transfer, count: CountPart) -> None:
    """Write the received stream into the program, which has succeeded then.

    After any failure the program's input ends early, and it preserves the received part for a later attempt.
    """
    try:
        for payload in read_frames(reader):
            # before the write: the last part completes the stream, and `count` may still reject it
            count(len(payload))
            program.stream.write(payload)
        program.stream.close()
        program.finish(Deadline(_FINISH_SECONDS))
    except BrokenPipeError:
        program.finish(Deadline(_FINISH_SECONDS))  # raises with the program's own message
        raise
    except BaseException:
        _preserve_part(program)
        raise
    finally:
        program.kill()


def _preserve_part(program: Transfer) -> None:
    """End the input: `zfs receive -s` then preserves the received part."""
    try:
        program.stream.close()
        program.finish(Deadline(_PRESERVE_SECONDS))
    except (OSError, RocksError):
        pass  # it reports the incomplete stream, as expected


SEED, RETURN = "seed", "return"
"""The purposes of a transfer, in its opening line: to a host, or back to the NAS."""

CHECK = "check"
"""No transfer: a host asks whether the NAS has the snapshot of the guid in the opening line."""

MOVE, HAND_OVER = "move", "hand_over"
"""The purposes of a connection from a NAS to the one to which it moves an image: its content; the image itself."""

MAX_STREAMS = 2
"""For one snapshot: the rest of an interrupted stream, and one more."""

Count = Callable[[int, int], None]
"""Called for each part of a stream before it is used: its bytes, and the estimated total."""


# --- the sending end -----------------------------------------------------------------------------------------------


def send_all(
    pools: PoolDriver,
    volume: str,
    to_guid: str,
    receiver: Mapping[str, Any],
    writer: BinaryIO,
    bucket: Bucket,
    count: Count,
) -> None:
    """Plan by the receiver's description (`describe`), and send all streams.

    IncoherentError when the two diverged; BusyError while another program's snapshots are in the way.
    """
    history = pools.read_history(volume)
    ours = [Point(point.name, point.guid, point.createtxg) for point in history.snapshots]
    ours += [Point(point.name, point.guid, point.createtxg, True) for point in history.bookmarks]
    plan = plan_send(ours, points_of(receiver), to_guid, _token(pools, receiver))
    if isinstance(plan, Diverged):
        raise (BusyError if plan.waits else IncoherentError)(f"{volume}: {plan.text}")
    assert isinstance(plan, SendPlan)
    specs = [_spec(volume, step) for step in plan.steps]
    sizes = [pools.estimate_send(step) for step in specs]
    send_line(writer, {"aborts_partial": plan.aborts_partial})
    for step, one, size in zip(plan.steps, specs, sizes):
        send_line(writer, {"how": step.how, "to": step.to.name, "from_guid": one.from_guid, "bytes": size})
        send_program(pools.start_send(one), writer, bucket, lambda part, size=size: count(part, size))  # type: ignore[misc]
    send_line(writer, {"how": "end"})


def _spec(volume: str, step: SendStep) -> SendSpec:
    start = step.start
    return SendSpec(
        volume,
        step.to.name,
        step.to.guid,
        from_snapshot=start.name if start is not None and not start.is_bookmark else None,
        from_bookmark=start.name if start is not None and start.is_bookmark else None,
        from_guid=None if start is None else start.guid,
        resume_token=step.token,
    )


def points_of(receiver: Mapping[str, Any]) -> Sequence[Point]:
    """The receiver's snapshots, by its description. IncoherentError when that is invalid."""
    try:
        return [Point(str(name), str(guid), int(order)) for name, guid, order in receiver["points"]]
    except (KeyError, ValueError, TypeError):
        raise IncoherentError("the receiver of the transfer sent no valid description") from None


def _token(pools: PoolDriver, receiver: Mapping[str, Any]) -> Optional[Token]:
    text = receiver.get("token")
    if not text:
        return None
    try:
        fact = pools.decode_token(str(text))
    except StateError:
        return Token("", None, str(text))  # invalid: the plan drops its partial receive
    return Token(fact.to_guid, fact.from_guid, str(text))


# --- the receiving end ---------------------------------------------------------------------------------------------


def describe(pools: PoolDriver, volume: str) -> Dict[str, Any]:
    """The receiver's snapshots and its resume token."""
    fact = pools.read_volume(volume)
    snapshots = pools.read_history(volume).snapshots
    return {
        "points": [[point.name, point.guid, point.createtxg] for point in snapshots],
        "token": None if fact is None else fact.resume_token,
    }


class Source(NamedTuple):
    """The sender of streams by name, and what the receiver takes from it.

    `largest_bytes`: of one stream. `check_space` may reject a stream by the bytes that its sender states.
    """

    name: str
    largest_bytes: int
    check_space: Callable[[int], None] = lambda size_bytes: None


def receive_all(pools: PoolDriver, volume: str, reader: BinaryIO, source: Source, count: Count) -> None:
    """Receive all streams that the sender announces, at most `MAX_STREAMS`.

    IncoherentError for a stream that is not of one snapshot of a volume, or too large: nothing of it stays.
    """
    if receive_line(reader).get("aborts_partial"):
        pools.ensure_partial_gone(volume)
    for _ in range(MAX_STREAMS):
        line = receive_line(reader)
        if line.get("how") == "end":
            return
        _receive(pools, volume, reader, line, source, count)
    if receive_line(reader).get("how") != "end":
        raise IncoherentError(
            f"{source.name} sends more than {MAX_STREAMS} streams of one snapshot for {volume}"
        )


class _TooLargeError(IncoherentError):
    """The sender has exceeded the bound."""


def _receive(
    pools: PoolDriver, volume: str, reader: BinaryIO, line: Mapping[str, Any], source: Source, count: Count
) -> None:
    size_bytes, from_guid = number(line, "bytes"), line.get("from_guid")
    source.check_space(size_bytes)
    spec = ReceiveSpec(
        volume,
        None if from_guid is None else str(from_guid),
        is_resumed=line.get("how") == "resume",
        sender=source.name,
    )
    received = _partial_bytes(pools, volume) if spec.is_resumed else 0

    def counted(part_bytes: int) -> None:
        nonlocal received
        received += part_bytes
        if received > source.largest_bytes:
            raise _TooLargeError
        count(part_bytes, size_bytes)

    try:
        receive_program(reader, pools.start_receive(spec), counted)
    except _TooLargeError:
        pools.ensure_partial_gone(volume)
        raise IncoherentError(
            f"{source.name} sent more than {size_text(source.largest_bytes)} for {volume}, more than there can be: "
            "the transfer was ended, and what was received of this stream is destroyed. If "
            f"{source.name} is not to be trusted: rocks remove host certificate {source.name}"
        ) from None


def _partial_bytes(pools: PoolDriver, volume: str) -> int:
    """Bytes of an interrupted stream."""
    fact = pools.read_volume(volume)
    token = None if fact is None else fact.resume_token
    return 0 if token is None else pools.decode_token(token).bytes_done
