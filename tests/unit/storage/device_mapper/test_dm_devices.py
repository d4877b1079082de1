"""The header of a COW, on a file in a device's place."""

from pathlib import Path

import pytest

from rocks.core.errors import IncoherentError
from rocks.storage.device_mapper.dm_devices import CowHeader, ensure_valid, parse_header

VALID = b"SnAp" + bytes([1, 0, 0, 0, 1, 0, 0, 0, 16, 0, 0, 0])
INVALID = b"SnAp" + bytes([0, 0, 0, 0, 1, 0, 0, 0, 16, 0, 0, 0])


def test_header() -> None:
    """Read, or known to be none."""
    assert parse_header(VALID) == CowHeader(True, 1, 16)
    assert parse_header(INVALID) == CowHeader(False, 1, 16)
    assert parse_header(b"\0" * 16) is None


def test_the_flag_and_nothing_else_is_written(tmp_path: Path) -> None:
    """And the second time nothing."""
    cow = tmp_path / "cow"
    cow.write_bytes(INVALID + b"exceptions")
    assert ensure_valid(str(cow)).changed
    assert cow.read_bytes() == VALID + b"exceptions"
    assert not ensure_valid(str(cow)).changed


@pytest.mark.parametrize("content", [b"\0" * 32, b"SnAp" + bytes([0, 0, 0, 0, 2, 0, 0, 0, 16, 0, 0, 0])])
def test_what_is_no_cow_stays_as_it_is(tmp_path: Path, content: bytes) -> None:
    """An empty device, another version."""
    cow = tmp_path / "cow"
    cow.write_bytes(content)
    with pytest.raises(IncoherentError, match="is not a COW device"):
        ensure_valid(str(cow))
    assert cow.read_bytes() == content
