"""The content of a file in pieces: complete, in order, with zeros for holes."""

import os
from pathlib import Path

import pytest

from rocks.core.errors import UserError
from rocks.storage.client.importing import pieces

_PIECE = 512 * 1024


@pytest.mark.parametrize(
    "extents",
    [
        [],
        [(0, 10)],
        [(_PIECE - 1, 2)],
        [(0, 3 * _PIECE)],
        [(5 * _PIECE, 7), (9 * _PIECE + 1, _PIECE)],
        [(0, 1), (_PIECE, 1), (2 * _PIECE, 1)],
    ],
)
@pytest.mark.parametrize("behind", [0, 1, 2 * _PIECE])
def test_pieces_contain_the_whole_file(tmp_path: Path, extents: list[tuple[int, int]], behind: int) -> None:
    """For any data and holes, and any size of the volume behind it."""
    path = tmp_path / "file"
    with path.open("wb") as target:
        for offset, length in extents:
            target.seek(offset)
            target.write(os.urandom(length))
    content = path.read_bytes()
    size = len(content) + behind
    with path.open("rb", buffering=0) as file:
        found = list(pieces(file, size))
    assert b"".join(data for _, data in found) == content.ljust(size, b"\0")
    assert [offset for offset, _ in found] == list(range(0, size, _PIECE))


def test_a_file_that_becomes_shorter_is_not_filled_up(tmp_path: Path) -> None:
    """Its missing end would else be zeros that both ends agree on."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(3 * _PIECE))
    with path.open("rb", buffering=0) as file:
        found = pieces(file, 3 * _PIECE)
        next(found)
        os.truncate(path, _PIECE + 10)
        with pytest.raises(UserError, match="became shorter"):
            next(found)
