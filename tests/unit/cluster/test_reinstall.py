"""Which machines can get a fresh disk, and what the others need instead."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rocks.cluster import reinstall
from rocks.core.errors import Code, StateError
from rocks.core.values import BYTES_PER_GIB
from rocks.inventory.records import Lease, VirtualMachine
from rocks.library.guest_images import Source
from rocks.storage.volumes.places import DiskLocation
from rocks.storage.wire.replies import ImageRow
from tests.unit.machines import machine

DISK = DiskLocation("web", 0, 1, "nas-0-0", "tank")


def vm(*disks: str, **attributes: str) -> VirtualMachine:
    """A machine with an image."""
    chosen = disks or ("file:/images/web.vda,vda,virtio",)
    return machine("web", disks=chosen, attributes={"vm_image": "debian", **attributes})


def test_a_raw_file_and_a_disk_on_a_nas_are_made_from_images() -> None:
    reinstall.check_has_image(vm())
    device = vm("phy:/dev/vg/web,vda,virtio")
    with pytest.raises(StateError, match="is no raw image file and not on a NAS"):
        reinstall.check_has_image(device)
    reinstall.check_has_image(replace(device, disks=(replace(device.disks[0], is_mapped=True),)))
    with pytest.raises(StateError, match="no disk: rocks list host vm web showdisks=yes"):
        reinstall.check_has_image(replace(vm(), disks=()))


def test_without_an_image_the_message_names_the_installation() -> None:
    with pytest.raises(
        StateError, match="rocks set host vm cdrom web image=ISO, then rocks start host vm web"
    ) as refused:
        reinstall.check_has_image(vm(vm_image=""))
    assert refused.value.code is Code.DISK_HAS_NO_IMAGE


@pytest.mark.parametrize("state", ["starting", "running", "stopping"])
def test_a_machine_that_may_run_needs_force(state: str) -> None:
    lease = Lease("web", 3, "vmc-0-0", state)
    with pytest.raises(StateError, match="rocks stop host vm web"):
        reinstall.check_is_off(vm(), lease, False)
    reinstall.check_is_off(vm(), lease, True)


def test_saved_memory_is_not_discarded_by_force() -> None:
    for force in (False, True):
        with pytest.raises(StateError, match="saved=remove"):
            reinstall.check_is_off(vm(), Lease("web", 3, "vmc-0-0", "saved"), force)
    reinstall.check_is_off(vm(), Lease("web", 3, None, "released"), False)
    reinstall.check_is_off(vm(), None, False)


def test_what_the_nas_would_not_destroy_refuses() -> None:
    reinstall.check_clones(DISK, "web-vol", ())
    with pytest.raises(
        StateError, match="tank/a-vol and 1 more is a clone of it: .* nas-0-0 tank a-vol now=yes"
    ):
        reinstall.check_clones(DISK, "web-vol", ("tank/a-vol", "tank/b-vol"))
    for state in ("unmapped", "deleting", "local"):
        reinstall.check_state(DISK, "web-vol", state, "")
    for state in ("blocked", "restoring", "moving", "arriving"):
        with pytest.raises(StateError, match=f"is {state} \\(why\\): rocks list host storagemap nas-0-0"):
            reinstall.check_state(DISK, "web-vol", state, "why")


def test_an_image_that_does_not_fit_makes_no_disk() -> None:
    reinstall.check_source(vm(), Source("debian", 36 * 10**9, 1, "0"))
    with pytest.raises(StateError, match="has 36 GB"):
        reinstall.check_source(vm(), Source("debian", 36 * 10**9 + 1, 1, "0"))
    on_nas = replace(vm(), disks=(replace(vm().disks[0], is_mapped=True),))
    reinstall.check_source(on_nas, Source("debian", 36 * BYTES_PER_GIB, 1, "0"))
    with pytest.raises(StateError, match="has 36 GiB, .* a disk of 36.0 GiB; give it at least 37 GiB"):
        reinstall.check_source(on_nas, Source("debian", 36 * BYTES_PER_GIB + 1, 1, "0"))


GOLDEN = ImageRow("golden", "tank", "unmapped", "idle")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (GOLDEN, ""),
        (
            replace(GOLDEN, zvol="silver"),
            "nas-0-0 has no image of that name in tank; rocks reinstall host vm web image=",
        ),
        (replace(GOLDEN, zpool="other"), "nas-0-0 has no image of that name in tank"),
        (replace(GOLDEN, state="deleting"), "which is deleting, and only an image at rest"),
        (replace(GOLDEN, state="local", remotehost="vmc-0-0"), "which is local on vmc-0-0"),
    ],
)
def test_a_volume_that_makes_no_disk_refuses(row: ImageRow, message: str) -> None:
    """What would be made of it at the next start is refused while the old disk exists."""
    chosen = vm(vm_image="volume:golden")

    def check(removed: tuple[str, ...] = ("web-vol",)) -> None:
        reinstall.check_source_volume(chosen, DISK, [row], removed)

    if message:
        with pytest.raises(StateError, match=message):
            check()
        return
    check()
    with pytest.raises(StateError, match="golden, which this command removes"):
        check(("web-vol", "golden"))


def test_a_disk_on_no_nas_is_no_clone_of_a_volume() -> None:
    source = Source("volume:golden", 0, 0, "")
    chosen = vm(vm_image="volume:golden")
    with pytest.raises(StateError, match="its disk is on no NAS; rocks set host vm nas web"):
        reinstall.check_source(chosen, source)
    on_nas = replace(chosen, disks=(replace(chosen.disks[0], is_mapped=True),))
    reinstall.check_source(on_nas, source)


def test_only_what_was_made_from_an_image_is_made_from_one_again() -> None:
    base = f"tank/library-{'0' * 64}@base"
    for origin in ("", base):
        reinstall.check_origin(DISK, "web-vol", origin, "debian")
    with pytest.raises(StateError, match="is a clone of tank/teacher-vol@img-1"):
        reinstall.check_origin(DISK, "web-vol", "tank/teacher-vol@img-1", "debian")
    for owner in ("", vm().uuid):
        reinstall.check_owner(vm(), DISK, "web-vol", owner)
    with pytest.raises(StateError, match="rocks remove host storageimg nas-0-0 tank web-vol"):
        reinstall.check_owner(vm(), DISK, "web-vol", "of another")


def test_an_instance_is_none_that_a_machine_has_had() -> None:
    assert reinstall.next_instance([vm()]) == 1
    assert reinstall.next_instance([vm(vm_instance="2"), vm(), vm(vm_instance="7")]) == 8
    assert reinstall.next_instance([vm(vm_instance="none")]) == 1
