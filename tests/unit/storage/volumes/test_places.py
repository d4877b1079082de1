"""Names of volumes, and of the attributes of images."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rocks.core.errors import StateError, UserError
from rocks.inventory.records import Disk, Host, Lease, VirtualMachine
from rocks.storage.volumes.places import (
    DiskLocation,
    ImageSpec,
    check_nas,
    check_not_running,
    check_pool_name,
    check_volume_name,
    disks_numbered,
    follows,
    is_nowhere,
    place_disks,
    plan_images,
    pool_of,
    pools_of,
    volume_name,
)
from rocks.storage.volumes.volumes import IMAGE_ATTRIBUTES, check_image_attribute
from tests.unit.machines import container


def test_names_of_volumes() -> None:
    assert [volume_name("vm-a", number) for number in (0, 1, 10)] == ["vm-a-vol", "vm-a-vol1", "vm-a-vol10"]


@pytest.mark.parametrize("name", ["a", "vm-vc1-0-vol", "9_a.b:c-d", "a" * 201])
def test_a_volume_may_be_called(name: str) -> None:
    check_volume_name(name)


@pytest.mark.parametrize("name", ["", "-a", ".a", "a/b", "a@b", "a b", "a\n", "é", "a" * 202, "%"])
def test_a_volume_may_not_be_called(name: str) -> None:
    with pytest.raises(UserError, match="is not valid"):
        check_volume_name(name)


def test_attributes_of_images() -> None:
    for name in IMAGE_ATTRIBUTES:
        check_image_attribute(name)
    with pytest.raises(UserError, match="these are frequency, nextsync"):
        check_image_attribute("speed")


# Which NAS and pool keep a disk: names, what a NAS is, the choice of a pool.


NAS = replace(container("nas-0-0"), membership="NAS Appliance", appliance="nas")
FIRST, SECOND = DiskLocation("web", 0, 10, "nas-0-0", "tank"), DiskLocation("web", 1, 11)


def nas(appliance: str = "NAS", **attributes: str) -> Host:
    return replace(NAS, appliance=appliance, attributes=attributes)


@pytest.mark.parametrize("word", ["none", "None", "NONE"])
def test_the_word_that_means_no_nas(word: str) -> None:
    assert is_nowhere(word)
    assert not is_nowhere("") and not is_nowhere("nonesuch")


@pytest.mark.parametrize("name", ["tank", "T", "fast-1_a.b:c", "logs", "x" * 128])
def test_names_of_pools(name: str) -> None:
    check_pool_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "a b", "1tank", "-a", "a/b", "a@b", "a,b", "é", "a\n", "x" * 129, "'", "$(reboot)"),
        *("mirror", "mirror1", "raidz2", "draid", "spares", "log", "none", "None"),
    ],
)
def test_what_is_no_pool(name: str) -> None:
    with pytest.raises(UserError, match=r'^zpool ".*" is not valid: '):
        check_pool_name(name)


def test_a_nas_is_one_by_its_attribute_else_by_its_appliance() -> None:
    check_nas(nas())
    check_nas(nas("compute", img_storage_nas="yes"))
    check_nas(nas(img_storage_nas=""))
    with pytest.raises(
        StateError, match=r"^host nas-0-0 is not a NAS: its attribute img_storage_nas is not true"
    ):
        check_nas(nas(img_storage_nas="false"))
    with pytest.raises(
        StateError, match="neither the attribute img_storage_nas nor the membership NAS Appliance"
    ) as refused:
        check_nas(nas("vm-container"))
    text = str(refused.value)
    assert "it is a vm-container, and rocks list host appliance shows which hosts are NASes" in text
    assert "set host attr" not in text, "a mistyped name would make a NAS of a VM container"


def test_pools_of_a_nas_are_named_once_each() -> None:
    assert pools_of(nas(img_zpools=" tank, fast ,,tank,")) == ["tank", "fast"]


@pytest.mark.parametrize("text", ["", " ", ",", " , "])
def test_a_nas_without_pools_has_none_to_choose(text: str) -> None:
    with pytest.raises(StateError, match="nas-0-0 has no attribute img_zpools; set it with"):
        pools_of(nas(img_zpools=text))


def test_a_fault_in_img_zpools_is_not_the_persons_who_assigns() -> None:
    with pytest.raises(StateError, match=r'img_zpools of nas-0-0 is not valid: zpool "a b" is not valid'):
        pools_of(nas(img_zpools="tank,a b"))


def test_the_numbered_disk_of_each_machine() -> None:
    other = DiskLocation("Other", 1, 12)
    assert disks_numbered([FIRST, SECOND, other], ["other", "WEB"], 1) == [other, SECOND]
    with pytest.raises(StateError, match="host other has no disk number 0"):
        disks_numbered([FIRST, SECOND, other], ["web", "other"], 0)
    with pytest.raises(StateError, match="host web has no disk number 2"):
        disks_numbered([FIRST, SECOND], ["web"], 2)


@pytest.mark.parametrize("chosen", [0, 1, 2])
def test_any_of_the_pools_may_result(chosen: int) -> None:
    bounds: list[int] = []

    def draw(count: int) -> int:
        bounds.append(count)
        return chosen

    (placed,) = place_disks([SECOND], "nas-0-0", ["a", "b", "c"], draw)
    assert placed == SECOND._replace(nas="nas-0-0", zpool="abc"[chosen])
    assert bounds == [3]


def test_every_disk_is_drawn_for_by_itself() -> None:
    draws = iter([1, 0])
    placed = place_disks([SECOND, SECOND], "n", ["a", "b"], lambda _: next(draws))
    assert [disk.zpool for disk in placed] == ["b", "a"]


def test_a_disk_that_the_nas_keeps_already_stays_in_its_pool() -> None:
    assert place_disks([FIRST], "NAS-0-0", ["other"], lambda _: 0) == [FIRST]
    (moved,) = place_disks([FIRST], "nas-0-1", ["other"], lambda _: 0)
    assert (moved.nas, moved.zpool) == ("nas-0-1", "other")


def test_a_disk_leaves_no_nas_under_a_machine_that_may_run() -> None:
    running = Lease("WEB", 3, "vmc-0-0", "running")
    check_not_running([SECOND], [running])
    check_not_running([FIRST], [Lease("web", 3, None, "released"), Lease("other", 1, "vmc-0-0", "running")])
    with pytest.raises(
        StateError, match="host web may be running on vmc-0-0, and its image is written back to nas-0-0"
    ):
        check_not_running([SECOND, FIRST], [running])


# Which images a machine's start maps, and how.


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
