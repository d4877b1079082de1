"""The size of a temp-write volume."""

from rocks.storage.life.space import reserve_bytes
from rocks.storage.life.temp_write import CHUNK_BYTES, temp_write_bytes
from tests.unit.storage.records import GIB

MIB = 2**20


def test_a_temp_write_volume_takes_all_of_the_image() -> None:
    """Every chunk, its metadata, and 1 %; in whole chunks."""
    size = temp_write_bytes(8 * GIB)
    assert size > 8 * GIB * 1.01 and size % CHUNK_BYTES == 0
    assert temp_write_bytes(1) >= 2 * CHUNK_BYTES
    assert reserve_bytes(64 * MIB) == temp_write_bytes(64 * MIB) < 66 * MIB
