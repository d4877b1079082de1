"""Lines of a transfer that another node may send."""

import io

import pytest

from rocks.core.errors import HostError, IncoherentError, StateError
from rocks.storage.stream.frames import Opening, read_opening, receive_line, send_error, write_opening

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
