"""Frames of a live migration arrive as they were sent, in pieces of any size."""

import pytest

from rocks.core.errors import IncoherentError
from rocks.fleet.wire.live_moves import DATA, END, HEADER, MAX_BYTES, OPEN, Frame, Frames, frame


@pytest.mark.parametrize("size", [1, 7, HEADER.size, 1000])
def test_pieces_become_frames(size: int) -> None:
    sent = [Frame(OPEN, 1, b"libvirt"), Frame(DATA, 1, bytes(range(256)) * 3), Frame(END, 1, b"")]
    data = b"".join(frame(*one) for one in sent)
    frames, received = Frames(), []
    for begin in range(0, len(data), size):
        received += list(frames.put(data[begin : begin + size]))
    assert received == sent


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(IncoherentError, match="is no frame"):
        list(Frames().put(HEADER.pack(DATA, 1, MAX_BYTES + 1)))
