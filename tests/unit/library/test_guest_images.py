"""Which disks are made from an image, and when there is no space for them."""

from __future__ import annotations

import pytest

from rocks.core.errors import StateError, UserError
from rocks.fleet.wire.facts import DiskFact
from rocks.fleet.wire.requests import BaseImage, DiskSpec, base_path
from rocks.inventory.disks.places import medium_of
from rocks.library.guest_images import (
    Source,
    base_on,
    boots_cd_last,
    check_medium_name,
    check_medium_space,
    is_copy,
    medium_on,
    needs_source,
    with_base,
    with_checked_medium,
    with_medium,
)
from rocks.library.records import LibraryImage, source_of
from tests.unit.machines import container, machine

GB = 1000**3
SOURCE = Source("debian", 2 * GB, GB // 2, "ab" * 32)
PATH = "/images/web.vda"


def fact(*, exists: bool = False, free: int = 10 * GB) -> DiskFact:
    return DiskFact(PATH, exists, False, 0, 100 * GB, free)


def test_a_disk_that_is_missing_is_made_from_the_image() -> None:
    vm = machine("web", attributes={"vm_image": "debian"})
    assert needs_source(vm, [fact()])
    assert not needs_source(vm, [fact(exists=True)])
    assert not needs_source(machine("web"), [fact()])
    base = base_on(vm, container(), SOURCE)
    assert base == BaseImage("/images", SOURCE.digest, SOURCE.size_bytes, SOURCE.used_bytes)
    assert is_copy(base_path(base))
    assert not is_copy(PATH)
    disks = with_base(vm, [DiskSpec(PATH, "raw", 36, False)], [fact()], base, has_base=False)
    assert disks == (DiskSpec(PATH, "raw", 36, False, base=base),)


def test_a_disk_that_is_too_small_or_has_no_space_is_rejected() -> None:
    vm = machine("web", attributes={"vm_image": "debian"})
    large = Source("debian", 37 * GB, GB, "ab" * 32)
    with pytest.raises(StateError, match="web has 36 GB, and the image debian is a disk of 37.0 GB"):
        base_on(vm, container(), large)
    base, disks = base_on(vm, container(), SOURCE), [DiskSpec(PATH, "raw", 36, False)]
    assert with_base(vm, disks, [fact(free=17 * GB // 10)], base, has_base=True)
    needs = r"the copy of its image, its disk and the 1\.0 GiB that must stay free need 1\.9 GiB, .* has 1\.6 GiB free"
    with pytest.raises(StateError, match=needs):
        with_base(vm, disks, [fact(free=17 * GB // 10)], base, has_base=False)


def test_no_disk_is_made_from_an_iso() -> None:
    assert source_of(LibraryImage("debian", "raw", GB, GB, "ab")) == Source("debian", GB, GB, "ab")
    with pytest.raises(StateError, match="medium is an ISO, .*; rocks list image shows"):
        source_of(LibraryImage("medium", "iso", GB, GB, "ab"))


def test_a_disk_outside_of_the_image_directories_gets_no_image() -> None:
    vm = machine("web", disks=["file:/elsewhere/web.vda,vda,virtio"], attributes={"vm_image": "debian"})
    with pytest.raises(
        StateError, match="not in an image directory of vmc-0-0; rocks set host vm web disk=…"
    ):
        base_on(vm, container(), SOURCE)


# Which ISO is in a machine's drive, where its copy is on the host, and when the host has no space for it.


MEDIUM_SOURCE = Source("netinst", GB, GB // 2, "ab" * 32)


def test_the_copy_is_in_an_image_directory_of_the_host() -> None:
    there = container(vm_image_directories="/other,/images")
    base = medium_on(machine("web"), there, MEDIUM_SOURCE)
    assert base == BaseImage(
        "/images", MEDIUM_SOURCE.digest, MEDIUM_SOURCE.size_bytes, MEDIUM_SOURCE.used_bytes
    )
    on_device = machine("web", disks=["phy:/dev/vg/web,vda,virtio"])
    assert medium_on(on_device, there, MEDIUM_SOURCE).directory == "/other"
    with pytest.raises(
        StateError, match="vmc-0-0 has no directory for images, where its CD netinst would be"
    ):
        medium_on(on_device, container(vm_image_directories=""), MEDIUM_SOURCE)


def test_the_host_compares_the_cd_with_the_copy_that_it_has_to_be() -> None:
    base = medium_on(machine("web"), container(), MEDIUM_SOURCE)
    vm = with_medium(machine("web"), base)
    disk = DiskSpec("/images/web.vda", "raw", 36, False)
    (medium,) = medium_of(vm, container())
    assert (medium.path, medium.is_cdrom, is_copy(medium.path)) == (base_path(base), True, True)
    assert [spec.base for spec in with_checked_medium([disk, medium], base)] == [None, base]


def test_an_iso_without_space_on_the_host_is_rejected() -> None:
    vm = machine("web")
    base = medium_on(vm, container(), MEDIUM_SOURCE)
    check_medium_space(vm, "netinst", base, DiskFact("/x", False, False, 0, 9 * GB, 2 * GB))
    with pytest.raises(
        StateError, match=r"CD netinst and .* need 1\.5 GiB, .* has 1\.1 GiB free.*cdrom web eject"
    ):
        check_medium_space(vm, "netinst", base, DiskFact("/x", False, False, 0, 9 * GB, 12 * GB // 10))


@pytest.mark.parametrize("name", ["none", "Eject", "../x", ""])
def test_words_for_no_cd_and_invalid_names_are_no_images(name: str) -> None:
    with pytest.raises(UserError):
        check_medium_name(name)


def test_the_cd_boots_first_unless_the_attribute_says_last() -> None:
    places = [
        boots_cd_last(machine("web", attributes={"kvm_cdrom_boot": text})) for text in ("last", "first", "x")
    ]
    assert places == [True, False, False]
    assert not boots_cd_last(machine("web"))
