"""Frames of a transfer: whole and in order, or an error; damage of every byte is found."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.errors import HostError, IncoherentError, RocksError, ToolError
from rocks.imgstorage.stream.frames import FrameWriter, read_frames


def framed(parts: list[bytes], *, ended: bool = True) -> bytes:
    target = io.BytesIO()
    writer = FrameWriter(target)
    for part in parts:
        writer.data(part)
    if ended:
        writer.end()
    return target.getvalue()


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8))
def test_what_is_sent_arrives(parts: list[bytes]) -> None:
    """In the same parts, in the same order."""
    assert list(read_frames(io.BytesIO(framed(parts)))) == parts


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=4), st.data())
def test_a_changed_byte_is_found(parts: list[bytes], data: st.DataObject) -> None:
    """Wherever it is: in a head, a payload, or the digest."""
    whole = bytearray(framed(parts))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RocksError):
        list(read_frames(io.BytesIO(bytes(whole))))


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=4), st.data())
def test_a_cut_is_found_and_the_last_part_is_never_handed_out(
    parts: list[bytes], data: st.DataObject
) -> None:
    """Cut anywhere: `zfs receive` gets less than all, so that it cannot finish."""
    whole = framed(parts)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    seen: list[bytes] = []
    with pytest.raises(HostError, match="before its end"):
        for part in read_frames(io.BytesIO(cut)):
            seen.append(part)
    assert seen == parts[: len(seen)]
    assert len(seen) < len(parts)


def test_frames_in_another_order_are_found() -> None:
    """Each is whole, and their digest is not."""
    head = 9
    first, second = framed([b"one"], ended=False), framed([b"two"], ended=False)
    end = framed([b"one", b"two"])[2 * (head + 3) :]
    with pytest.raises(IncoherentError, match="digest"):
        list(read_frames(io.BytesIO(second + first + end)))


def test_the_senders_error_is_raised_at_the_receiver() -> None:
    """In its family, with its words."""
    target = io.BytesIO()
    writer = FrameWriter(target)
    writer.data(b"part")
    writer.error(ToolError("zfs failed with exit status 1: no such snapshot"))
    with pytest.raises(ToolError, match="no such snapshot"):
        list(read_frames(io.BytesIO(target.getvalue())))
