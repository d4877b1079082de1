"""The digest and the stream of an image depend on its content alone; a stream that is not whole makes no image."""

import io
import os
from pathlib import Path

import pytest

from rocks.core.errors import IncoherentError
from rocks.core.image_blocks import BLOCK_BYTES, content_of, copy_content, receive_content, send_content

SIZE = 40 * BLOCK_BYTES + 512


def image(path: Path, *, written_zeros: bool = False) -> Path:
    """Data in the first block, across a border of blocks, and in the last bytes."""
    with path.open("wb") as file:
        file.truncate(SIZE)
        if written_zeros:
            file.write(bytes(SIZE))
        for offset, data in ((100, b"first"), (5 * BLOCK_BYTES - 3, b"across"), (SIZE - 4, b"last")):
            file.seek(offset)
            file.write(data)
    return path


def stream_of(path: Path) -> bytes:
    sent = bytearray()
    descriptor = os.open(path, os.O_RDONLY)
    send_content(descriptor, sent.extend)
    os.close(descriptor)
    return bytes(sent)


def received(stream: bytes, path: Path, max_bytes: int = SIZE) -> str:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        return receive_content(io.BytesIO(stream).read, descriptor, max_bytes).digest
    finally:
        os.close(descriptor)


def test_a_hole_and_written_zeros_are_the_same(tmp_path: Path) -> None:
    sparse, full = image(tmp_path / "sparse"), image(tmp_path / "full", written_zeros=True)
    with sparse.open("rb") as one, full.open("rb") as other:
        content = content_of(one.fileno())
        assert content == content_of(other.fileno())
    assert content.size_bytes == SIZE
    assert content.used_bytes == 3 * BLOCK_BYTES + 512
    assert len(stream_of(full)) < 4 * BLOCK_BYTES


def test_what_arrives_is_what_was_sent(tmp_path: Path) -> None:
    source = image(tmp_path / "source")
    digest = received(stream_of(source), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    with source.open("rb") as file:
        assert digest == content_of(file.fileno()).digest
    assert (tmp_path / "copy").stat().st_blocks * 512 <= 8 * BLOCK_BYTES


def test_a_copy_on_the_same_host_is_sparse(tmp_path: Path) -> None:
    source = image(tmp_path / "source")
    with source.open("rb") as one, (tmp_path / "copy").open("xb") as other:
        copy_content(one.fileno(), other.fileno())
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    assert (tmp_path / "copy").stat().st_blocks * 512 <= 8 * BLOCK_BYTES


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda stream: stream[:-1], "ended early"),
        (lambda stream: stream[: BLOCK_BYTES // 2], "ended early"),
        (lambda stream: b"rocks roll images 1\n" + stream[20:], "not the stream"),
        (lambda stream: stream[:19] + (2**50).to_bytes(8, "big") + stream[27:], "is of an image of"),
        (lambda stream: stream[:27] + (7).to_bytes(8, "big") + stream[35:], "wrong place"),
        (lambda stream: stream[:27] + (2**40).to_bytes(8, "big") + stream[35:], "wrong place"),
        (lambda stream: stream[:35] + (2**31).to_bytes(4, "big") + stream[39:], "wrong place"),
    ],
)
def test_a_stream_that_is_not_one_is_rejected(tmp_path: Path, change: object, text: str) -> None:
    stream = change(stream_of(image(tmp_path / "source")))  # type: ignore[operator]
    with pytest.raises(IncoherentError, match=text):
        received(stream, tmp_path / "copy")
    assert not (tmp_path / "copy").stat().st_blocks * 512 > 8 * BLOCK_BYTES


def test_a_block_of_zeros_is_rejected(tmp_path: Path) -> None:
    stream = stream_of(image(tmp_path / "source"))
    zeros = (BLOCK_BYTES).to_bytes(8, "big") + BLOCK_BYTES.to_bytes(4, "big") + bytes(BLOCK_BYTES)
    second = 27 + 12 + BLOCK_BYTES
    with pytest.raises(IncoherentError, match="has a block of zeros"):
        received(stream[:second] + zeros + stream[second:], tmp_path / "copy")


def test_another_content_has_another_digest(tmp_path: Path) -> None:
    stream = bytearray(stream_of(image(tmp_path / "source")))
    stream[100 + 39] ^= 1
    assert received(bytes(stream), tmp_path / "changed") != received(
        stream_of(tmp_path / "source"), tmp_path / "same"
    )
