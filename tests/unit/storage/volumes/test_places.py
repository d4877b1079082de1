"""Which NAS and pool keep a disk: names, what a NAS is, the choice of a pool."""

from dataclasses import replace

import pytest

from rocks.core.errors import StateError, UserError
from rocks.inventory.records import Host, Lease
from rocks.storage.volumes.places import (
    DiskLocation,
    check_nas,
    check_not_running,
    check_pool_name,
    disks_numbered,
    is_nowhere,
    place_disks,
    pools_of,
)
from tests.unit.machines import container

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
