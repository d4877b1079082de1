"""Which ISO is in a machine's drive, where its copy is on the host, and when the host has no space for it."""

import pytest

from rocks.core.errors import StateError, UserError
from rocks.fleet.wire.facts import DiskFact
from rocks.fleet.wire.requests import BaseImage, DiskSpec, base_path
from rocks.inventory.disks.places import medium_of
from rocks.library.guest_images import (
    Source,
    boots_cd_last,
    check_medium_name,
    check_medium_space,
    is_copy,
    medium_on,
    with_checked_medium,
    with_medium,
)
from tests.unit.machines import container, machine

GB = 1000**3
SOURCE = Source("netinst", GB, GB // 2, "ab" * 32)


def test_the_copy_is_in_an_image_directory_of_the_host() -> None:
    there = container(vm_image_directories="/other,/images")
    base = medium_on(machine("web"), there, SOURCE)
    assert base == BaseImage("/images", SOURCE.digest, SOURCE.size_bytes, SOURCE.used_bytes)
    on_device = machine("web", disks=["phy:/dev/vg/web,vda,virtio"])
    assert medium_on(on_device, there, SOURCE).directory == "/other"
    with pytest.raises(
        StateError, match="vmc-0-0 has no directory for images, where its CD netinst would be"
    ):
        medium_on(on_device, container(vm_image_directories=""), SOURCE)


def test_the_host_compares_the_cd_with_the_copy_that_it_has_to_be() -> None:
    base = medium_on(machine("web"), container(), SOURCE)
    vm = with_medium(machine("web"), base)
    disk = DiskSpec("/images/web.vda", "raw", 36, False)
    (medium,) = medium_of(vm, container())
    assert (medium.path, medium.is_cdrom, is_copy(medium.path)) == (base_path(base), True, True)
    assert [spec.base for spec in with_checked_medium([disk, medium], base)] == [None, base]


def test_an_iso_without_space_on_the_host_is_rejected() -> None:
    vm = machine("web")
    base = medium_on(vm, container(), SOURCE)
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
