"""The attributes install_disk and install_partitions."""

import pytest

from rocks.core.errors import UserError
from rocks.install.installation.disks import DiskChoice, Partition, read_disks, read_partitions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("smallest", (DiskChoice("smallest", ""),)),
        ("smallest,smallest", (DiskChoice("smallest", ""), DiskChoice("smallest", ""))),
        ("serial=S3Z-1, serial=S3Z-2", (DiskChoice("serial", "S3Z-1"), DiskChoice("serial", "S3Z-2"))),
        ("path=/dev/nvme0n1", (DiskChoice("path", "/dev/nvme0n1"),)),
        ("path=pci-0000:00:1f.2", (DiskChoice("path", "pci-0000:00:1f.2"),)),
    ],
)
def test_disks(text: str, expected: tuple[DiskChoice, ...]) -> None:
    assert read_disks(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "largest", "serial=", "serial=a b", "path=sda", "path=/dev/../sda", "path=/dev/sda;id", "smallest,"]
    + ["smallest,smallest,smallest", "serial=A,serial=A", "smallest;id"],
)
def test_other_disks_are_rejected(text: str) -> None:
    with pytest.raises(UserError):
        read_disks(text)


def test_partitions() -> None:
    assert read_partitions("root:20:ext4:/  swap:2:swap\nvar:8:ext4:/var/lib pool:rest:none") == (
        Partition("root", 19073, "ext4", "/"),
        Partition("swap", 1907, "swap", ""),
        Partition("var", 7629, "ext4", "/var/lib"),
        Partition("pool", None, "none", ""),
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no partition has the mount point /"),
        ("swap:1:swap", "no partition has the mount point /"),
        ("root:20", "is not NAME:SIZE"),
        ("root:0:ext4:/", "has the size"),
        ("root:-1:ext4:/", "has the size"),
        ("root:٣:ext4:/", "has the size"),
        ("root:9999999:ext4:/", "has the size"),
        ("root:rest:ext4:/ swap:1:swap", "not the last one"),
        ("root:20:btrfs:/", "ext4, swap and none are known"),
        ("root:20:ext4:relative", "not an absolute path"),
        ("root:20:ext4:/ x:1:ext4:/a/../b", "not an absolute path"),
        ("root:20:ext4:/ x:1:ext4:/$(id)", "not an absolute path"),
        ("root:20:ext4:/ x:1:ext4:/boot/efi", "belongs to the system"),
        ("root:20:ext4:/ x:1:ext4:/proc/x", "belongs to the system"),
        ("root:20:ext4:/ root:1:swap", "the name root"),
        ("root:20:ext4:/ two:1:ext4:/", "the mount point /"),
        ("efi:20:ext4:/", "is not valid"),
        ("Root:20:ext4:/", "is not valid"),
        ("root:20:ext4:/ pool:5:none:/x", "cannot have"),
        ("root:20:ext4:/ " + " ".join(f"p{n}:1:none" for n in range(16)), "at most 16"),
    ],
)
def test_other_partitions_are_rejected(text: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        read_partitions(text)
