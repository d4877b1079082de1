"""Folders and devices of the host's system are never for guests."""

import pytest

from rocks.core.errors import UserError
from rocks.inventory.attributes.forms import check_form
from rocks.inventory.disks.places import SYSTEM_FOLDERS


def is_refused(name: str, folders: str) -> bool:
    try:
        check_form(name, folders)
    except UserError as error:
        return "system of the host" in str(error)
    return False


def test_every_folder_of_the_system_is_refused() -> None:
    """Alone, among others, and however it is written."""
    folders = (
        *SYSTEM_FOLDERS,
        *(f"{folder}/deep/images" for folder in SYSTEM_FOLDERS),
        *("/", "//", "/.", "/home", "/home/", "/opt", "/tmp"),
        *("/var", "/var/tmp", "/var/lib", "/var/lib/libvirt"),
        *("//etc", "/./etc", "/etc/.", "/etc//ssh"),
    )
    assert [
        (name, folder)
        for folder in folders
        for name, value in (
            ("vm_image_directory", folder),
            ("vm_image_directories", folder),
            ("vm_image_directories", f"/images, {folder}"),
        )
        if not is_refused(name, value)
    ] == []


@pytest.mark.parametrize(
    "folder",
    [
        *(
            "/images",
            "/state/partition1/kvm/disks",
            "/var/lib/libvirt/images",
            "/var/lib/rocks-images",
            "/srv",
        ),
        *(
            "/mnt",
            "/etcetera",
            "/home/images",
            "/tmp/images",
            "/opt/rocks/small",
            "/var/images",
            "/export/vm",
        ),
    ],
)
def test_a_folder_of_the_site_is_accepted(folder: str) -> None:
    assert check_form("vm_image_directories", folder) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "/dev/*",
            "/dev/?d?",
            "/dev/[a-z]*",
            "/dev/vd*",
            "/dev/vd[a-z]",
            "/dev/sd*",
            "/dev/sda*",
            "/dev/nvme*",
        ),
        *("/dev/dm-*", "/dev/md*", "/dev/mapper/*", "/dev/mapper/?*", "/dev/*/*", "/dev/[m]apper/guests-1"),
        *("/dev/disk/*", "/dev/disk/by-id/*", "/dev/disk/by-id/scsi-*", "/dev/disk/by-path/pci-*"),
        *(
            "/dev/disk/by-*/x",
            "/dev/disk/by-partlabel/*",
            "/dev/block/252:*",
            "/dev//sdb",
            "/dev/./sdb",
            "/dev/",
        ),
    ],
)
def test_a_pattern_of_all_disks_is_refused(pattern: str) -> None:
    with pytest.raises(UserError, match="may match disks of the host itself"):
        check_form("vm_disk_devices", f"/dev/sdb,{pattern}")


@pytest.mark.parametrize(
    "pattern",
    [
        *("/dev/sdb", "/dev/mapper/guests-*", "/dev/vg/*", "/dev/zvol/tank/vm-*", "/dev/drbd*", "/dev/zd?"),
        *("/dev/disk/by-partlabel/guest-*", "/dev/disk/by-id/scsi-3600", "/dev/sr0"),
    ],
)
def test_a_pattern_of_devices_for_guests_is_accepted(pattern: str) -> None:
    assert check_form("vm_disk_devices", pattern) is None  # type: ignore[func-returns-value]
