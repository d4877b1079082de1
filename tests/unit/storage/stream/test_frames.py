"""Lines of a transfer that another node may send."""

from __future__ import annotations

import io
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.core.errors import HostError, IncoherentError, RocksError, StateError, ToolError
from rocks.storage.stream.frames import (
    FrameWriter,
    Opening,
    read_frames,
    read_opening,
    receive_line,
    send_error,
    write_opening,
)

HOSTILE = {
    "nesting": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "infinite": b'{"a": 1e999}',
    "surrogate": b'{"a": "\\ud800"}',
    "two values": b'{"a": 1, "a": 2}',
    "no UTF-8": b'{"a": "\xff"}',
    "no object": b"[1]",
    "nothing": b"",
}


@pytest.mark.parametrize("line", HOSTILE.values(), ids=list(HOSTILE))
def test_a_line_that_no_side_of_ours_sends_is_an_error_of_its_sender(line: bytes) -> None:
    with pytest.raises(IncoherentError, match="a line of the transfer is no JSON"):
        receive_line(io.BytesIO(line + b"\n"))
    with pytest.raises(IncoherentError):
        read_opening(line)


def test_an_opening_is_read_as_it_was_written() -> None:
    opening = Opening("seed", "nas-0-0:vol", 7, "12345678901234567890")
    assert read_opening(write_opening(opening)) == opening


def test_an_error_of_the_other_end_is_raised_here() -> None:
    writer = io.BytesIO()
    send_error(writer, StateError("no such image"))
    with pytest.raises(StateError, match="no such image"):
        receive_line(io.BytesIO(writer.getvalue()))


def test_a_line_without_its_end_is_a_closed_connection() -> None:
    with pytest.raises(HostError, match="closed the transfer before its end"):
        receive_line(io.BytesIO(b'{"a": 1}'))


def test_a_line_is_at_most_1_mib() -> None:
    """With its end; another node cannot fill the memory."""
    line = b'{"a": "' + b"x" * (2**20 - 10) + b'"}\n'
    assert len(line) == 2**20 and set(receive_line(io.BytesIO(line))) == {"a"}
    with pytest.raises(HostError, match="closed the transfer"):
        receive_line(io.BytesIO(b" " + line))


# Frames of a transfer: the whole stream, or an error.


HEAD, TOTALS = 5, 16
"""Bytes of a head, and of the payload of an end."""


def framed(parts: list[bytes], *, ended: bool = True) -> bytes:
    target = io.BytesIO()
    writer = FrameWriter(target)
    for part in parts:
        writer.data(part)
    if ended:
        writer.end()
    return target.getvalue()


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8))
def test_the_receiver_gets_the_sent_parts(parts: list[bytes]) -> None:
    """In the same parts, in the same order."""
    assert list(read_frames(io.BytesIO(framed(parts)))) == parts


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=4), st.data())
def test_a_changed_byte_of_a_head_or_of_the_end_is_detected(parts: list[bytes], data: st.DataObject) -> None:
    """TLS detects one within a part: tests/system/imgstorage/stream/test_transfer.py."""
    whole = bytearray(framed(parts))
    heads = [
        begin + byte
        for begin in accumulate([0, *(HEAD + len(part) for part in parts)])
        for byte in range(HEAD)
    ]
    place = data.draw(st.sampled_from([*heads, *range(len(whole) - TOTALS, len(whole))]))
    whole[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RocksError):
        list(read_frames(io.BytesIO(bytes(whole))))


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=4), st.data())
def test_a_missing_or_repeated_frame_is_detected(parts: list[bytes], data: st.DataObject) -> None:
    """The last part that arrived is never yielded, so `zfs receive` cannot complete."""
    frames = [framed([part], ended=False) for part in parts]
    end = framed(parts)[-HEAD - TOTALS :]
    place = data.draw(st.integers(0, len(parts) - 1))
    for sent in ([*frames[:place], *frames[place + 1 :]], [*frames, frames[place]]):
        seen: list[bytes] = []
        with pytest.raises(IncoherentError, match="a part of the transfer is missing"):
            for part in read_frames(io.BytesIO(b"".join([*sent, end]))):
                seen.append(part)
        assert len(seen) == max(0, len(sent) - 1)


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=4), st.data())
def test_a_cut_is_detected_and_the_last_part_is_never_yielded(
    parts: list[bytes], data: st.DataObject
) -> None:
    """Cut anywhere: `zfs receive` gets less than all, so that it cannot complete."""
    whole = framed(parts)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    seen: list[bytes] = []
    with pytest.raises(HostError, match="before its end"):
        for part in read_frames(io.BytesIO(cut)):
            seen.append(part)
    assert seen == parts[: len(seen)]
    assert len(seen) < len(parts)


def test_the_receiver_raises_the_senders_error() -> None:
    """Of the same family, with the same text."""
    target = io.BytesIO()
    writer = FrameWriter(target)
    writer.data(b"part")
    writer.error(ToolError("zfs failed with exit status 1: no such snapshot"))
    with pytest.raises(ToolError, match="no such snapshot"):
        list(read_frames(io.BytesIO(target.getvalue())))


def test_an_error_line_in_the_place_of_a_frame_is_the_senders_error() -> None:
    """It could not begin the stream that it had announced: the transfer is not damaged, and is repeated."""
    sent = io.BytesIO()
    send_error(sent, ToolError("zfs send: the disk has a bad day"))
    with pytest.raises(ToolError, match="the disk has a bad day"):
        list(read_frames(io.BytesIO(sent.getvalue())))
    with pytest.raises(IncoherentError, match="no frame begins with 7b22686f77"):
        list(read_frames(io.BytesIO(b'{"how": "end"}\n')))
