"""Which disks are made from an image, and when there is no space for them."""

import pytest

from rocks.core.errors import StateError
from rocks.fleet.wire.facts import DiskFact
from rocks.fleet.wire.requests import BaseImage, DiskSpec, base_path
from rocks.library.guest_images import Source, base_on, is_copy, needs_source, with_base
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
