"""Partitions as lsblk prints them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.core.errors import StateError, UserError
from rocks.inventory.disks.partition_rules import (
    DiskPartition,
    check_partition,
    largest_partition,
    read_block_devices,
)

DISK = {"kname": "/dev/vda", "type": "disk", "mountpoint": None, "size": 10 << 30, "fstype": None}
ROOT = {
    "kname": "/dev/vda1",
    "type": "part",
    "mountpoint": "/",
    "size": str(8 << 30),
    "fstype": "ext4",
    "parttype": "0x83",
    "partflags": "0x80",
}


def printed(*devices: object, sectors: str = "") -> str:
    return f"{json.dumps({'blockdevices': devices})}\nsectors\n{sectors}"


def test_partitions_and_mounted_devices_are_read() -> None:
    """Also below a disk, as a volume of LVM, and swap."""
    volume = {"kname": "/dev/dm-0", "type": "lvm", "mountpoint": "/state", "size": 1 << 30, "fstype": "xfs"}
    swap = {"kname": "/dev/vda2", "type": "part", "mountpoint": "[SWAP]", "size": 1 << 20}
    text = printed(
        {**DISK, "children": [ROOT, {**swap, "children": [volume]}]},
        sectors="/sys/class/block/vda1/start:2048",
    )
    assert read_block_devices(text) == [
        DiskPartition("vda1", "/", "2048", "8192MB", "83", "ext4", "0x80"),
        DiskPartition("vda2", "swap", "", "1MB"),
        DiskPartition("dm-0", "/state", "", "1024MB", "", "xfs"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lsblk: not found",
        "[]",
        '{"blockdevices": 7}',
        '{"blockdevices": [7]}',
        "[" * 100_000,
        printed({"type": "part"}),
    ],
)
def test_other_text_is_an_error(text: str) -> None:
    with pytest.raises(StateError, match="no list of block devices"):
        read_block_devices(text)


def test_what_a_host_says_is_bounded() -> None:
    evil = {**ROOT, "mountpoint": "/\x1b[2J" + "x" * 1000, "fstype": ["x"]}
    (found,) = read_block_devices(printed(evil))
    assert len(found.mount_point) == 128 and "\x1b" not in found.mount_point
    with pytest.raises(StateError, match="more than"):
        read_block_devices(printed(*({**ROOT, "kname": f"/dev/x{n}"} for n in range(2000))))


def test_a_partition_has_a_device_or_a_mount_point() -> None:
    check_partition(DiskPartition("sda1"))
    with pytest.raises(UserError, match="must supply device or mountpoint"):
        check_partition(DiskPartition(size="1GB"))
    with pytest.raises(UserError, match="too long"):
        check_partition(DiskPartition("x" * 129))


# Where a host has free space for disk images: by unit first, then by number.


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
