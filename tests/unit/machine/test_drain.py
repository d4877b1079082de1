"""Where machines of an emptied host go, and which ones can start elsewhere."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rocks.core.errors import StateError
from rocks.inventory.records import Disk
from rocks.machine.drain import Capacity, choose_host, choose_live, taken, why_only_there
from tests.unit.machines import machine

BIG = replace(machine("vm-vc1-0"), memory_mb=3000)
HOSTS = [Capacity("a", 4000), Capacity("b", 5000)]


def test_each_machine_goes_where_max_memory_is_left() -> None:
    found, capacities = [], HOSTS
    for _ in range(2):
        capacity = choose_host(BIG, capacities)
        found.append(capacity.host)
        capacities = taken(BIG, capacity, capacities)
    assert (found, capacities) == (["b", "a"], [Capacity("a", 1000), Capacity("b", 2000)])
    with pytest.raises(
        StateError, match="has 3000 MB of memory, and none of a, b has that much left .b has 2000 MB"
    ):
        choose_host(BIG, capacities)


def test_a_machine_that_runs_goes_to_a_qemu_that_knows_its_type() -> None:
    """Memory decides among those, and among all where none of them has enough: the move itself is refused there."""
    hosts = [Capacity("old", 9000, "7.2.22"), Capacity("new", 5000, "10.0.13"), Capacity("unknown", 4000)]
    for machine_type, host in (
        ("pc-i440fx-7.2", "old"),
        ("pc-i440fx-10.0", "new"),
        ("pc-q35-9.0", "new"),
        ("pc-q35-rhel9.2.0", "old"),
        ("", "old"),
    ):
        assert choose_live(BIG, machine_type, hosts).host == host, machine_type
    assert choose_live(replace(BIG, memory_mb=6000), "pc-i440fx-10.0", hosts).host == "old"


def test_a_machine_starts_elsewhere_when_a_nas_has_all_its_disks() -> None:
    disks = tuple(Disk("file", "/images", f"{name}.img", name, "virtio", 10) for name in ("vda", "vdb"))
    vm = replace(BIG, disks=disks)
    assert why_only_there(vm, {0, 1}) == ""
    assert why_only_there(vm, {0}) == "its disk file:/images/vdb.img,vdb,virtio is on that host alone"
    assert why_only_there(replace(BIG, disks=()), set()) == "it has no disk"
