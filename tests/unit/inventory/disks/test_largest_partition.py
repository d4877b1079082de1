"""Where a host has free space for disk images: by unit first, then by number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.inventory.disks.partition_rules import largest_partition


@pytest.mark.parametrize(
    ("partitions", "mount"),
    [
        ([], None),
        ([("/", "20480MB")], "/"),
        ([("/", "20480MB"), ("/state/partition1", "102400MB")], "/state/partition1"),
        ([("/", "9MB"), ("/b", "10MB")], "/b"),
        ([("/", "999999MB"), ("/b", "1GB")], "/b"),
        ([("/", "5KB"), ("/b", "4MB"), ("/c", "3GB"), ("/d", "2TB"), ("/e", "1PB")], "/e"),
        ([("/", "1.5TB"), ("/b", "1.25TB")], "/"),
        ([("swap", "9TB"), ("", "9TB"), (None, "9TB"), ("/", "1KB")], "/"),
        ([("swap", "9TB"), ("[raid]", "9TB"), (None, None)], None),
        ([("/a", "many"), ("/b", "1KB")], "/b"),
        ([("/a", "1.2.3GB"), ("/b", "1KB")], "/b"),
        ([("/a", None)], "/a"),
        ([("/a", ""), ("/b", "-5GB"), ("/c", "1 gb")], "/c"),
        ([("/a", "9" * 400 + "PB"), ("/b", "1PB")], "/a"),
    ],
)
def test_the_largest_is_chosen(partitions: list[tuple[str | None, str | None]], mount: str | None) -> None:
    assert largest_partition(partitions) == mount
    assert largest_partition(reversed(partitions)) == mount


@given(st.lists(st.tuples(st.none() | st.text(), st.none() | st.text())))
def test_any_text_gives_a_mount_point_of_the_host_or_none(
    partitions: list[tuple[str | None, str | None]],
) -> None:
    chosen = largest_partition(partitions)
    usable = [mount for mount, _ in partitions if mount and mount.startswith("/")]
    assert chosen in usable or (chosen is None and not usable)
