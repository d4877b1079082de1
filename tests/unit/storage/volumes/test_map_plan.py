"""Which images a machine's start maps, and how."""

import pytest

from rocks.core.errors import StateError
from rocks.inventory.records import Disk, Host, VirtualMachine
from rocks.storage.volumes.places import DiskLocation, ImageSpec, follows, plan_images, pool_of


def host(name: str, **attributes: str) -> Host:
    arguments = {key.replace("_dash_", "-"): value for key, value in attributes.items()}
    return Host(name, "", "", 1, 0, 0, attributes=arguments)


def machine(container: Host | None = None, **attributes: str) -> VirtualMachine:
    disks = tuple(Disk("file", "/images", f"d{n}", f"vd{n}", "virtio", 10 + n) for n in range(3))
    return VirtualMachine(host("vm-a", **attributes), container, 64, 0, disks=disks)


def test_only_disks_that_a_nas_keeps_are_mapped() -> None:
    vm = machine(host("vmc", img_sync="true", vm_container_zpool="fast"))
    stored = [
        DiskLocation("vm-a", 0, 7, "nas", "tank"),
        DiskLocation("vm-a", 1, 8),
        DiskLocation("vm-a", 2, 9, "nas2", "slow"),
    ]
    assert plan_images(vm, stored) == [
        ImageSpec("vm-a", 0, 7, "nas", "tank", "vm-a-vol", 10, "vmc", "fast", True, None),
        ImageSpec("vm-a", 2, 9, "nas2", "slow", "vm-a-vol2", 12, "vmc", "fast", True, None),
    ]
    assert plan_images(machine(None), stored[1:2]) == []


def test_what_is_missing() -> None:
    with pytest.raises(StateError, match="Unable to allocate storage for vm-a: it has no physical host"):
        plan_images(machine(None), [DiskLocation("vm-a", 0, 7, "nas", "tank")])
    with pytest.raises(
        StateError, match="has no pool; rocks set host vm nas vm-a nas=nas zpool=POOL index=1"
    ):
        plan_images(machine(host("vmc")), [DiskLocation("vm-a", 1, 7, "nas", "")])


@pytest.mark.parametrize(
    ("container", "own", "expected"),
    [
        ("true", "", True),
        ("yes", "1", True),
        ("true", "false", False),
        ("true", "x", False),
        ("", "true", False),
    ],
)
def test_the_machine_can_only_switch_it_off(container: str, own: str, expected: bool) -> None:
    assert follows(host("vmc", img_sync=container), host("vm-a", img_sync=own)) is expected


def test_the_pool_on_the_host() -> None:
    assert pool_of(host("vmc")) == "tank"
    assert pool_of(host("vmc", vm_container_zpool="fast")) == "fast"
    assert pool_of(host("vmc", vm_container_zpool="fast", imgstorage_dash_pool="own")) == "own"


@pytest.mark.parametrize(("text", "expected"), [("", None), ("Yes", True), ("0", False), ("NO", False)])
def test_change_retention(text: str, expected: bool | None) -> None:
    (image,) = plan_images(
        machine(host("vmc"), img_persistent=text), [DiskLocation("vm-a", 0, 7, "nas", "tank")]
    )
    assert image.is_persistent is expected


def test_change_retention_is_never_guessed() -> None:
    with pytest.raises(StateError, match="it must be yes"):
        plan_images(machine(host("vmc"), img_persistent="maybe"), [DiskLocation("vm-a", 0, 7, "nas", "tank")])
