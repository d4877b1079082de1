"""New virtual machines from what is free."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.core.errors import StateError, UserError
from rocks.inventory.mac_pool import MASK
from rocks.inventory.new_host_parameters import Membership
from rocks.machine.add import (
    NEXT_FREE,
    InterfaceRequest,
    NewVm,
    SiteInventory,
    VmRequest,
    image_folder,
    plan_vms,
)
from rocks.network.interface_rules import Subnet
from tests.unit.machines import container

BASE = "76:77:6e:80:00:00"
COMPUTE = Membership(2, "Compute", "compute", "linux")
PRIVATE = Subnet("private", "10.1.0.0", "255.255.0.0")
PUBLIC = Subnet("public", "203.0.113.0", "255.255.255.0")
PARTITIONS = [("/", "20480MB"), ("/state/partition1", "102400MB")]


def inventory(**taken: Any) -> SiteInventory:
    """An empty site whose containers vmc-0-0 and vmc-0-1 have free space for disks."""
    values: dict[str, Any] = {"names": {"head": "head"}, "macs": [], "ips": [], "vlans": set()}
    values["partitions"] = {"vmc-0-0": PARTITIONS, "vmc-0-1": PARTITIONS}
    values["appliances"] = {"frontend", "compute"}
    return SiteInventory(**{**values, **taken})


def request(**values: Any) -> VmRequest:
    """One compute on vmc-0-0 with the next address of network private."""
    defaults: dict[str, Any] = {
        "container": container(),
        "membership": COMPUTE,
        "interfaces": (InterfaceRequest(PRIVATE, NEXT_FREE),),
    }
    return VmRequest(**{**defaults, **values})


def plan(*requests: VmRequest, on: SiteInventory | None = None) -> list[NewVm]:
    """Plans the requested machines."""
    return plan_vms(requests, on or inventory(), BASE, MASK)


def test_unspecified_values_get_defaults() -> None:
    (vm,) = plan(request())
    assert (vm.name, vm.slice, vm.container, vm.rack, vm.rank) == ("compute-0-0-0", 0, "vmc-0-0", 0, 0)
    assert (vm.cpus, vm.memory_mb, vm.run_action, vm.install_action) == (1, 2048, "os", "install")
    assert vm.interfaces == (InterfaceRequest(PRIVATE, "10.1.255.254", None, BASE),)
    assert [(disk.specification, disk.size_gb) for disk in vm.disks] == [
        ("file:/state/partition1/kvm/disks/compute-0-0-0.vda,vda,virtio", 36)
    ]


def test_the_name_has_the_containers_rack_and_rank() -> None:
    place = replace(container("vmc-3-14"), rack=3, rank=14, attributes={"vm_image_directory": "/images"})
    (vm,) = plan(request(container=place))
    assert (vm.name, vm.rack, vm.rank) == ("compute-3-14-0", 3, 14)
    (vm,) = plan(request(container=replace(place, rack=None, rank=None)))
    assert (vm.name, vm.rack, vm.rank) == ("compute-0-0-0", 0, 0)


@pytest.mark.parametrize(
    ("slices", "names", "name", "number"),
    [
        ({0, 1, 2}, set(), "compute-0-0-3", 3),
        ({0, 2}, set(), "compute-0-0-1", 1),
        (set(), {"compute-0-0-0"}, "compute-0-0-1", 1),
        ({1}, {"compute-0-0-0", "compute-0-0-2"}, "compute-0-0-3", 3),
    ],
)
def test_the_lowest_slice_that_is_free_and_gives_a_free_name(
    slices: set[int], names: set[str], name: str, number: int
) -> None:
    (vm,) = plan(request(), on=inventory(slices={"vmc-0-0": slices}, names={name: name for name in names}))
    assert (vm.name, vm.slice) == (name, number)


def test_slices_of_other_containers_do_not_count() -> None:
    (vm,) = plan(
        request(container=container("VMC-0-0")), on=inventory(slices={"vmc-0-1": {0}, "vmc-0-0": {1}})
    )
    assert vm.slice == 0


def test_a_specified_name_or_slice() -> None:
    (vm,) = plan(request(name="web"), on=inventory(slices={"vmc-0-0": {0, 1}}))
    assert (vm.name, vm.slice) == ("web", 2)
    assert vm.disks[0].path == "/state/partition1/kvm/disks/web.vda"
    (vm,) = plan(request(slice=7))
    assert (vm.name, vm.slice) == ("compute-0-0-7", 7)
    (vm,) = plan(request(name="web", slice=7))
    assert (vm.name, vm.slice) == ("web", 7)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "head"}, r"nodename \(head\) is already in the database"),
        (
            {"name": "head"},
            r"in the database; choose another name, or see rocks list host head$",
        ),
        (
            {"name": "blue"},
            r"nodename \(blue\) is already in the database as Blue; .* or see rocks list host Blue$",
        ),
        ({"slice": 4}, r"nodename \(compute-0-0-4\) is already in the database"),
        ({"slice": 1}, "slice 1 of vmc-0-0 is in use"),
        ({"slice": 1, "name": "new"}, "slice 1 of vmc-0-0 is in use"),
        ({"name": "a.b"}, "Hostname a.b can not contains any dot"),
        ({"name": "rack1"}, "can not be in the form of rack<number>"),
        ({"name": "compute"}, "can not be equal to an appliance name"),
        ({"name": "<a>&'\""}, 'Hostname "<a>&\'"" is not valid'),
        ({"name": "$(reboot)"}, "is not valid"),
        ({"name": "a" * 64}, "1 to 63 characters"),
        ({"disk": "file:/a/b"}, "Invalid disk specification"),
        ({"interfaces": (InterfaceRequest(PRIVATE, "10.1.0.300"),)}, "The ip address 10.1.0.300 is invalid"),
        ({"interfaces": (InterfaceRequest(PRIVATE, "10.2.0.1"),)}, 'is not in the network "private"'),
        ({"interfaces": (InterfaceRequest(PRIVATE, "10.1.255.255"),)}, "broadcast address"),
        ({"interfaces": (InterfaceRequest(PRIVATE, "10.1.0.0"),)}, "network address"),
        ({"interfaces": (InterfaceRequest(PRIVATE, "10.1.0.9"),)}, "The ip address 10.1.0.9 is in use"),
        ({"interfaces": (InterfaceRequest(mac="zz"),)}, "The mac address zz is invalid"),
        ({"interfaces": (InterfaceRequest(mac="00:01:02:03:04:05:06:07"),)}, "has six octets"),
        (
            {"interfaces": (InterfaceRequest(mac="01:01:02:03:04:05"),)},
            "it is a multicast address, that of a group",
        ),
        (
            {"interfaces": (InterfaceRequest(mac="52:54:00:00:00:09"),)},
            "The mac address 52:54:00:00:00:09 is in use",
        ),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, Any], message: str) -> None:
    taken = inventory(
        names={name.lower(): name for name in ("head", "Blue", "compute-0-0-4")},
        ips=["10.1.0.9"],
        macs=["52:54:00:00:00:09", "not a mac"],
        slices={"vmc-0-0": {1}},
    )
    with pytest.raises(UserError, match=message) as refused:
        plan(request(**values), on=taken)
    assert str(refused.value).isprintable()


def test_what_is_asked_for_is_not_chosen_for_another_interface() -> None:
    (vm,) = plan(request(interfaces=(InterfaceRequest(mac=BASE), InterfaceRequest())))
    assert [interface.mac for interface in vm.interfaces] == [BASE, "76:77:6e:80:00:01"]
    (vm,) = plan(
        request(interfaces=(InterfaceRequest(PRIVATE, NEXT_FREE), InterfaceRequest(PRIVATE, "10.1.255.254")))
    )
    assert [interface.ip for interface in vm.interfaces] == ["10.1.255.253", "10.1.255.254"]


def test_interfaces_keep_vlan_network_and_order() -> None:
    (vm,) = plan(
        request(
            interfaces=(InterfaceRequest(PRIVATE, NEXT_FREE, 4), InterfaceRequest(PUBLIC, "203.0.113.9", 0))
        )
    )
    assert vm.interfaces == (
        InterfaceRequest(PRIVATE, "10.1.255.254", 4, BASE),
        InterfaceRequest(PUBLIC, "203.0.113.9", 0, "76:77:6e:80:00:01"),
    )


def test_a_machine_inside_a_cluster_has_neither_network_nor_address() -> None:
    (vm,) = plan(request(interfaces=(InterfaceRequest(vlan=4),)))
    assert vm.interfaces == (InterfaceRequest(None, None, 4, BASE),)


def test_a_network_without_enough_addresses_raises() -> None:
    tiny = Subnet("tiny", "10.9.0.0", "255.255.255.252")
    requests = [request(interfaces=(InterfaceRequest(tiny, NEXT_FREE),)) for _ in range(3)]
    with pytest.raises(StateError, match='the network "tiny", 10.9.0.0/30, has only 2 of 3 free addresses'):
        plan(*requests)


def test_a_pool_without_enough_macs_raises() -> None:
    with pytest.raises(StateError, match="has only 1 of 2 addresses left"):
        plan_vms([request(), request()], inventory(), BASE, "ff:ff:ff:ff:ff:ff")


@given(st.lists(st.sampled_from(["vmc-0-0", "vmc-0-1"]), min_size=1, max_size=30), st.sets(st.integers(0, 9)))
def test_names_slices_and_addresses_never_repeat(places: list[str], slices: set[int]) -> None:
    hosts = {name: replace(container(name), rank=int(name[-1])) for name in ("vmc-0-0", "vmc-0-1")}
    taken = inventory(slices={"vmc-0-0": set(slices)})
    new = plan(*(request(container=hosts[place]) for place in places), on=taken)
    assert len({vm.name for vm in new}) == len(new)
    assert len({(vm.container, vm.slice) for vm in new}) == len(new)
    assert len({vm.interfaces[0].mac for vm in new}) == len(new)
    assert len({vm.interfaces[0].ip for vm in new}) == len(new)
    assert not [vm for vm in new if vm.container == "vmc-0-0" and vm.slice in slices]


@pytest.mark.parametrize(
    ("attribute", "partitions", "folder"),
    [
        ("", PARTITIONS, "/state/partition1/kvm/disks"),
        ("", [("/", "1GB")], "/kvm/disks"),
        ("/images", PARTITIONS, "/images"),
        ("/images/", [], "/images/"),
        ("/", [], "/"),
        ("/a b/<c>&'\"", [], "/a b/<c>&'\""),
    ],
)
def test_where_images_go(attribute: str, partitions: list[tuple[str, str]], folder: str) -> None:
    assert image_folder(container(vm_image_directory=attribute), partitions) == folder


@pytest.mark.parametrize(
    ("attribute", "partitions", "message"),
    [
        ("", [], r"could not find a partition on host \(vmc-0-0\) to hold the VM's disk image"),
        ("", [("swap", "9GB")], "could not find a partition"),
        ("", [("/a,b", "9GB")], "the largest partition of vmc-0-0 is not usable for disk images"),
        ("images", [], "the attribute vm_image_directory of vmc-0-0 is not usable for disk images"),
        ("/a,b", PARTITIONS, "must contain neither commas nor control characters"),
        ("/a\nb", PARTITIONS, "must contain neither commas nor control characters"),
        ("/a/../b", PARTITIONS, "neither // nor . nor .."),
        ("/" + "a" * 300, PARTITIONS, "too long"),
    ],
)
def test_where_images_cannot_go(attribute: str, partitions: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(StateError, match=message) as refused:
        image_folder(container(vm_image_directory=attribute), partitions)
    assert str(refused.value).isprintable()


def test_a_given_disk_needs_no_place() -> None:
    (vm,) = plan(request(disk="phy:/dev/vg/a,sda,scsi", disk_size_gb=9), on=inventory(partitions={}))
    assert [(disk.specification, disk.size_gb) for disk in vm.disks] == [("phy:/dev/vg/a,sda,scsi", 9)]
