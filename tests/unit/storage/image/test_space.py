"""Free space for a map."""

from rocks.storage.image import space
from tests.unit.storage.records import GIB


def test_free_space_on_a_host() -> None:
    """A tenth above the seed, the reserve twice, for it is merged, and 5 % of the pool."""
    needed = 11 * GIB + 2 * 2 * GIB + 5 * GIB
    assert space.host_shortage(needed, 100 * GIB, 8 * GIB, 10 * GIB) is None
    text = space.host_shortage(needed - 1, 100 * GIB, 8 * GIB, 10 * GIB)
    assert text is not None and "20.0 GiB are needed" in text
    assert space.nas_shortage(2 * GIB, 0, 8 * GIB) is None and space.nas_shortage(2 * GIB, GIB, 8 * GIB)


def test_a_copy_leaves_space_for_its_merge_and_for_other_guests() -> None:
    """The rest of the stream and a tenth, the reserve once, and what is never reserved of the pool."""
    needed = 11 * GIB + 2 * GIB + 5 * GIB
    assert space.copy_shortage(needed, 100 * GIB, 2 * GIB, 10 * GIB) is None
    text = space.copy_shortage(needed - 1, 100 * GIB, 2 * GIB, 10 * GIB)
    assert text is not None and "18.0 GiB are needed: 10.0 GiB and 10 % for the copy, 2.0 GiB for" in text
    assert space.copy_shortage(7 * GIB, 100 * GIB, 2 * GIB, 0) is None
    text = space.copy_shortage(7 * GIB - 1, 100 * GIB, 2 * GIB, 0)
    assert text is not None and "7.0 GiB are needed: 2.0 GiB for the merge" in text


def test_a_merge_needs_space_for_all_that_was_written() -> None:
    """The temp-write volume grows beyond its first reserve."""
    assert space.merged_bytes(100 * GIB, 3 * GIB) == 10 * GIB
    assert space.merged_bytes(100 * GIB, 40 * GIB) == 40 * GIB
