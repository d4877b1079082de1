"""Where disks may be: below image directories, and devices that a pattern names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rocks.core.errors import Code, StateError, UserError
from rocks.fleet.wire.requests import DiskSpec
from rocks.inventory.attributes.forms import check_form
from rocks.inventory.disks.places import (
    SYSTEM_FOLDERS,
    directory_of,
    image_directories,
    medium_of,
    place_disk,
    with_image_remedy,
)
from rocks.inventory.records import Host
from rocks.machine.disks import read_disk
from tests.unit.machines import container, machine

UUID = "11111111-1111-4111-8111-111111111111"


def host(mounts: tuple[str, ...] = (), **attributes: str) -> Host:
    """A container with only these attributes about disks."""
    return replace(
        container(**{"vm_image_directories": "", "vm_disk_devices": "", **attributes}), mounts=mounts
    )


@pytest.mark.parametrize(
    ("place", "directories"),
    [
        (host(), ()),
        (host(("/", "/state/partition1")), ("/kvm/disks", "/state/partition1/kvm/disks")),
        (host(("/",), vm_image_directory="/images/"), ("/images",)),
        (host(vm_image_directory="/a", vm_image_directories="/b, /c/,relative,,/a"), ("/a", "/b", "/c")),
        (host(vm_image_directories="/,/images,/etc,/var/lib/libvirt/,//root/./x"), ("/images",)),
        (host(vm_image_directory="/etc"), ()),
    ],
)
def test_image_directories(place: Host, directories: tuple[str, ...]) -> None:
    assert image_directories(place) == directories


@pytest.mark.parametrize(
    ("path", "directory"),
    [
        ("/images/a", "/images"),
        ("/images/deep/a", "/images/deep"),
        ("/images/deeper/a", "/images"),
        ("/imagesa", None),
        ("/images", None),
        ("/etc/shadow", None),
    ],
)
def test_the_directory_of_a_file(path: str, directory: str | None) -> None:
    assert directory_of(host(vm_image_directories="/images,/images/deep"), path) == directory


def place(there: Host, text: str, **fields: object) -> DiskSpec:
    """Where the only disk of a machine with a UUID is."""
    vm = machine(place=there, disks=[text], uuid=UUID, **fields)
    disk = vm.disks[0]
    return place_disk(vm, there, disk, DiskSpec(disk.path, "raw", 36, disk.is_block))


@pytest.mark.parametrize(
    "path", ["/etc/shadow", "/root/.ssh/id_rsa", "/var/lib/rocks/leases/vm", "/images", "/dev/vda"]
)
def test_a_file_elsewhere_is_rejected_and_no_value_is_offered(path: str) -> None:
    with pytest.raises(StateError) as error:
        place(host(vm_image_directories="/images"), f"file:{path},vda,virtio")
    assert str(error.value) == (
        f"web is not started: its disk {path} is outside the image directories of vmc-0-0 (/images). Give it a disk "
        "there: rocks set host vm web disk=…; to add a directory, see the attribute vm_image_directories"
    )


@pytest.mark.parametrize(
    ("disks", "remedy"),
    [
        (["file:/a,vda,virtio"], "Give it a disk there: rocks set host vm web disk=…; to add"),
        (
            ["file:/a,vda,virtio", "file:/images/b,vdb,virtio"],
            "Give it a disk there: rocks set host vm web disk=… with all its disks; to add",
        ),
        (
            ["file:/images/b,vda,virtio", "file:/a,vdb,virtio"],
            "Give it a disk there: rocks remove host vm disk web vdb, then rocks add host vm disk web disk=…; to add",
        ),
        (["file:/images/b,vda,virtio"], "Name one there; to add"),
    ],
)
def test_the_remedy_takes_no_other_disk_away(disks: list[str], remedy: str) -> None:
    there = host(vm_image_directories="/images")
    vm = machine(place=there, disks=disks, uuid=UUID)
    new = read_disk("file:/a,vdb,virtio", 36)
    disk = next((one for one in vm.disks if one.path == "/a"), new)
    with pytest.raises(StateError) as error:
        place_disk(vm, there, disk, DiskSpec("/a", "raw", 36, False))
    assert remedy in str(error.value)


def test_a_value_of_an_earlier_release_does_not_give_a_file_of_the_host() -> None:
    with pytest.raises(StateError, match=r"\(it has none; not counted, .* system: /etc\)"):
        place(host(vm_image_directories="/etc"), "file:/etc/shadow,vda,virtio")
    with pytest.raises(StateError, match=r"\(/dev/sdb; not counted, .* system: /dev/vd\*\)"):
        place(host(vm_disk_devices="/dev/sdb,/dev/vd*"), "phy:/dev/vda,vda,virtio")


@pytest.mark.parametrize(
    ("patterns", "path", "is_allowed"),
    [
        ("", "/dev/vda", False),
        ("/dev/vg/*", "/dev/vg/a", True),
        ("/dev/vg/*", "/dev/vg/a/b", False),
        ("/dev/*", "/dev/vg/a", False),
        ("/dev/sdb, /dev/mapper/guests-*", "/dev/mapper/guests-7", True),
        ("/dev/mapper/guests-*", "/dev/mapper/root", False),
    ],
)
def test_devices_by_patterns(patterns: str, path: str, is_allowed: bool) -> None:
    there = host(vm_disk_devices=patterns)
    if is_allowed:
        assert place(there, f"phy:{path},vda,virtio").machine == UUID
    else:
        with pytest.raises(StateError, match="not a device for guests of vmc-0-0 .* vm_disk_devices$"):
            place(there, f"phy:{path},vda,virtio")


def test_the_disk_bears_the_machine() -> None:
    there = host(vm_image_directories="/images")
    expected = DiskSpec("/images/a", "raw", 36, False, machine=UUID, directory="/images")
    assert place(there, "file:/images/a,vda,virtio") == expected


def test_the_device_of_a_mapped_image_needs_no_pattern() -> None:
    vm = machine(place=host(), disks=["phy:/dev/mapper/web-vol-snap,vda,virtio"], uuid=UUID)
    disk = replace(vm.disks[0], is_mapped=True)
    made = DiskSpec(disk.path, "raw", 36, True)
    assert place_disk(vm, host(), disk, made) == replace(made, is_mapped=True)


@pytest.mark.parametrize(
    ("path", "is_allowed"),
    [
        ("/images/x.iso", True),
        ("/dev/sr0", True),
        ("/dev/cdrom", True),
        ("/etc/shadow", False),
        ("/dev/vda", False),
    ],
)
def test_cd_images_have_the_same_places(path: str, is_allowed: bool) -> None:
    there = host(vm_image_directories="/images")
    vm = machine(place=there, cdrom_path=path, uuid=UUID)
    if is_allowed:
        (medium,) = medium_of(vm, there)
        assert (medium.is_cdrom, medium.machine, medium.is_block) == (True, "", path.startswith("/dev/"))
    else:
        with pytest.raises(StateError, match="its CD"):
            medium_of(vm, there)
    assert medium_of(machine(place=there), there) == ()


@pytest.mark.parametrize("code", [Code.IMAGE_UNOWNED, Code.IMAGE_FOREIGN])
def test_giving_the_disk_is_offered_before_its_removal(code: Code) -> None:
    vm = machine(uuid=UUID)
    error = with_image_remedy(vm, StateError("the disk /images/web.vda that is there …", code=code))
    assert error.code is code
    given = str(error).index("rocks set host image vmc-0-0 '/images/web.vda' vm=web")
    assert given < str(error).index("rocks remove host image vmc-0-0 '/images/web.vda'")
    assert ("that machine is removed" in str(error)) == (code is Code.IMAGE_FOREIGN)


# Folders and devices of the host's system are never for guests.


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
