"""Free space for a map."""

from rocks.storage.life import space
from tests.unit.storage.records import GIB


def test_free_space_on_a_host() -> None:
    """A tenth above the seed, the reserve twice, for it is merged, and 5 % of the pool."""
    needed = 11 * GIB + 2 * 2 * GIB + 5 * GIB
    assert space.host_shortage(needed, 100 * GIB, 8 * GIB, 10 * GIB) is None
    text = space.host_shortage(needed - 1, 100 * GIB, 8 * GIB, 10 * GIB)
    assert text is not None and "20.0 GiB are needed" in text
    assert space.nas_shortage(2 * GIB, 0, 8 * GIB) is None and space.nas_shortage(2 * GIB, GIB, 8 * GIB)
