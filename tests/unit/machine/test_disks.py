"""`TYPE:PATH,DEVICE,BUS`: what is a disk, and that its text comes back as it went in."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.core.errors import StateError, UserError
from rocks.inventory.records import Disk
from rocks.machine.disks import (
    BUSES,
    LONGEST_PATH,
    TYPES,
    check_no_copies,
    check_no_doubt,
    default_disk,
    image_lines,
    path_fault,
    read_disk,
    split_disks,
)
from rocks.machine.record import DiskCopy
from tests.unit.machines import container, machine

names = st.text(
    st.characters(exclude_categories=["C", "Z"], exclude_characters="/,"), min_size=1, max_size=20
)
paths = (
    st.lists(names.filter(lambda name: name not in (".", "..")), min_size=1, max_size=4)
    .map(lambda parts: "/" + "/".join(parts))
    .filter(lambda path: path_fault(path) is None)
)
devices = st.sampled_from(["vda", "vdz", "vdab", "sda", "hdc", "xvdb"])


@pytest.mark.parametrize(
    ("text", "disk"),
    [
        ("file:/a/b.vda,vda,virtio", Disk("file", "/a", "b.vda", "vda", "virtio", 36)),
        ("qcow2:/a/b/c,sda,scsi", Disk("qcow2", "/a/b", "c", "sda", "scsi", 36)),
        ("qed:/x,hda,ide", Disk("qed", "/", "x", "hda", "ide", 36)),
        ("phy:/dev/vg/lv,vda,virtio", Disk("phy", "", "/dev/vg/lv", "vda", "virtio", 36)),
        ("tap:aio:/a/b,vda,w", Disk("tap:aio", "/a", "b", "vda", "w", 36)),
        (
            'file:/a b/it\'s "it" & <x>;$(reboot),vda,sata',
            Disk("file", "/a b", 'it\'s "it" & <x>;$(reboot)', "vda", "sata", 36),
        ),
        (
            "phy:/dev/disk/by-path/ip-10.0.0.1:3260-iscsi-iqn.x:y-lun-0,vda,virtio",
            Disk("phy", "", "/dev/disk/by-path/ip-10.0.0.1:3260-iscsi-iqn.x:y-lun-0", "vda", "virtio", 36),
        ),
    ],
)
def test_a_specification_is_read(text: str, disk: Disk) -> None:
    assert read_disk(text, 36) == disk
    assert disk.specification == text


def test_a_block_device_is_known_by_its_type() -> None:
    assert read_disk("phy:/dev/vdb,vda,virtio", 1).is_block
    assert not read_disk("file:/dev/vdb,vda,virtio", 1).is_block


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be TYPE:PATH,DEVICE,BUS"),
        ("file:/a/b", "must be TYPE:PATH,DEVICE,BUS"),
        ("file:/a/b,vda", "must be TYPE:PATH,DEVICE,BUS"),
        ("file:/a/b,vda,virtio,x", "must be TYPE:PATH,DEVICE,BUS"),
        ("/a/b,vda,virtio", "must be TYPE:PATH,DEVICE,BUS"),
        ("raw:/a/b,vda,virtio", "must be TYPE:PATH,DEVICE,BUS"),
        ("FILE:/a/b,vda,virtio", "must be TYPE:PATH,DEVICE,BUS"),
        ("tap:/a/b,vda,virtio", "must be TYPE:PATH,DEVICE,BUS"),
        ("file:a/b,vda,virtio", 'the path "a/b" must be absolute'),
        ("file:,vda,virtio", 'the path "" must be absolute'),
        ("file:/,vda,virtio", "end in a name"),
        ("file:/a/,vda,virtio", "end in a name"),
        ("file:/a//b,vda,virtio", "neither // nor . nor .."),
        ("file:/a/./b,vda,virtio", "neither // nor . nor .."),
        ("file:/a/../b,vda,virtio", "neither // nor . nor .."),
        ("file:/a\nb,vda,virtio", "control characters"),
        ("file:/a\0b,vda,virtio", "control characters"),
        ("file:/a\u2028b,vda,virtio", "control characters"),
        ("file:/a/b,,virtio", '"" is not a device'),
        ("file:/a/b,eth0,virtio", '"eth0" is not a device'),
        ("file:/a/b,vda1,virtio", '"vda1" is not a device'),
        ("file:/a/b,vd,virtio", '"vd" is not a device'),
        ("file:/a/b,vda'/><x>,virtio", "is not a device"),
        ("file:/a/b,vda,", "the bus must be one of"),
        ("file:/a/b,vda,usb", "the bus must be one of"),
        ("file:/a/b,vda,virtio ", "the bus must be one of"),
        (f"file:/{'a' * 256},vda,virtio", "too long"),
        (f"file:/{'é' * 128},vda,virtio", "too long"),
        ("file:" + "/abcdefg" * (LONGEST_PATH // 8) + "/h,vda,virtio", "too long"),
    ],
)
def test_anything_else_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        read_disk(text, 36)
    reported = str(refused.value)
    assert reported.startswith('Invalid disk specification "')
    assert message in reported
    assert reported.isprintable()


@pytest.mark.slow
@given(kind=st.sampled_from(TYPES), path=paths, device=devices, bus=st.sampled_from(BUSES))
def test_what_is_read_is_written_the_same(kind: str, path: str, device: str, bus: str) -> None:
    text = f"{kind}:{path},{device},{bus}"
    disk = read_disk(text, 7)
    assert (disk.specification, disk.path, disk.size_gb) == (text, path, 7)


@given(st.text())
def test_any_text_is_a_disk_or_refused(text: str) -> None:
    try:
        assert read_disk(text, 1).specification == text
    except UserError as error:
        assert str(error).isprintable()


@given(st.lists(st.tuples(paths, devices), max_size=4), st.sampled_from([" ", "  ", "\t", "\n "]))
def test_several_disks_are_parted_by_blanks(disks: list[tuple[str, str]], blank: str) -> None:
    texts = [f"file:{path},{device},virtio" for path, device in disks]
    assert split_disks(blank.join(texts)) == texts


def test_a_path_with_blanks_is_no_end_of_a_disk() -> None:
    text = "file:/a b/c d,vda,virtio phy:/e f,vdb,ide"
    assert split_disks(text) == ["file:/a b/c d,vda,virtio", "phy:/e f,vdb,ide"]


@pytest.mark.parametrize(
    "text", ["x", "file:/a,vda,virtio x", "x file:/a,vda,virtio", "file:/a,vda file:/b,vdb,ide"]
)
def test_what_is_no_disk_is_not_passed_over(text: str) -> None:
    with pytest.raises(UserError):
        for one in split_disks(text):
            read_disk(one, 1)


def test_no_text_is_no_disk() -> None:
    assert split_disks("") == split_disks("  ") == []


@pytest.mark.parametrize(
    ("folder", "specification"),
    [
        ("/state/partition1/kvm/disks", "file:/state/partition1/kvm/disks/web.vda,vda,virtio"),
        ("/images/", "file:/images/web.vda,vda,virtio"),
        ("/", "file:/web.vda,vda,virtio"),
    ],
)
def test_the_default_disk_is_a_raw_file_called_like_the_machine(folder: str, specification: str) -> None:
    disk = default_disk("web", folder, 36)
    assert disk.specification == specification
    assert read_disk(specification, 36) == disk


# Copies of disks that a move made or left are no disks, and disks in doubt are not used.

HERE = container("vmc-0-0")
VM = machine(place=HERE, disks=("file:/images/web.vda,vda,virtio",))


def test_a_copy_is_no_disk() -> None:
    copy = DiskCopy("vmc-0-0", VM.disks[0].path)
    with pytest.raises(StateError, match="may be old or incomplete; rocks move host vm web vmc-0-0"):
        check_no_copies(VM, HERE, VM.disks, [copy])
    check_no_copies(VM, container("vmc-0-1"), VM.disks, [copy])
    check_no_copies(VM, None, VM.disks, [copy])
    check_no_copies(VM, HERE, VM.disks, [DiskCopy("vmc-0-0", "/images/other.vda")])


def test_disks_in_doubt_are_not_used() -> None:
    check_no_doubt(VM)
    with pytest.raises(StateError, match="given up by force.* or, to keep those of vmc-0-0"):
        check_no_doubt(replace(VM, doubted_host="vmc-0-1"))
    with pytest.raises(StateError, match="disks are those of the snapshot before in part"):
        check_no_doubt(replace(VM, restoring="before"))


# What a changed record leaves as it is: images on their old host, and their sizes.

IMAGES = ("file:/images/web.vda,vda,virtio", "phy:/dev/vg/web,vdb,virtio")


def test_images_stay_on_the_old_host() -> None:
    vm = machine(place=container("vmc-0-0"), disks=IMAGES)
    assert image_lines(vm, container("vmc-0-1"), None) == [
        "the images of web that exist stay on vmc-0-0 (/images/web.vda), and its next start makes new ones where "
        "vmc-0-1 has none; to take them along, if vmc-0-0 answers: rocks set host vm web physnode=vmc-0-0, "
        "then rocks move host vm web vmc-0-1"
    ]
    assert image_lines(vm, container("vmc-0-0"), None) == [], "its own host"
    assert (
        image_lines(machine(place=container("vmc-0-0"), disks=IMAGES[1:]), container("vmc-0-1"), None) == []
    )


def test_an_image_that_is_no_disk_any_more_stays_on_its_host() -> None:
    vm = machine(place=container("vmc-0-0"), disks=IMAGES)
    other = replace(vm.disks[0], name="new.vda")
    stays = "the image /images/web.vda, if it exists, stays on vmc-0-0, which lists it: rocks list host image vmc-0-0"
    for target in (None, container("vmc-0-1")):
        assert image_lines(vm, target, (other, vm.disks[1])) == [
            f"from its next start web has /images/new.vda as vda; {stays}"
        ]
        assert image_lines(vm, target, ()) == [f"from its next start web has no disk vda; {stays}"]


def test_an_image_keeps_its_size() -> None:
    vm = machine(place=container("vmc-0-0"), disks=IMAGES)
    changed = [replace(disk, size_gb=10) for disk in vm.disks]
    assert image_lines(vm, None, changed) == [
        "the image /images/web.vda of web, if it exists, keeps its size: only the record is 10 GB now, and was "
        "36 GB; to grow the image: rocks set host vm disk web vda size=GB; nothing shrinks it"
    ]
    assert image_lines(vm, None, vm.disks) == []
