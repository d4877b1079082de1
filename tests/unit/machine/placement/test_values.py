"""Values of attributes that shape machines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.core.errors import StateError
from rocks.machine.placement import (
    PageReserve,
    ShapeRequest,
    iothreads_of,
    queues_of,
    read_cpu_set,
    read_page_reserve,
    read_pci_pools,
    read_pci_requests,
    read_request,
    write_cpu_set,
)
from tests.unit.machines import container, machine


@given(st.frozensets(st.integers(0, 8191), min_size=1, max_size=40))
def test_a_cpu_set_is_read_as_written(cpus: frozenset[int]) -> None:
    assert read_cpu_set(write_cpu_set(cpus)) == cpus


def test_forms() -> None:
    assert write_cpu_set([3, 1, 2, 8, 3]) == "1-3,8"
    assert read_cpu_set("0-3, ^2,18") == {0, 1, 3, 18}
    assert read_page_reserve("2M:1024 1G:8@1") == (PageReserve("2M", 1024, None), PageReserve("1G", 8, 1))
    assert read_pci_pools("gpu:3B:00.0,0001:d8:1f.7 nvme:0000:5e:00.0") == {
        "gpu": ("0000:3b:00.0", "0001:d8:1f.7"),
        "nvme": ("0000:5e:00.0",),
    }
    assert read_pci_requests("gpu:2,nvme") == {"gpu": 2, "nvme": 1}
    assert read_pci_requests("") == {}


def request(machine_has: dict[str, str], host_has: dict[str, str] | None = None) -> ShapeRequest:
    """What a machine with these attributes asks of a host with those."""
    place = container(**{"kvm": "true", **(host_has or {})})
    return read_request(machine(place=place, attributes=machine_has, cpus=4), 7)


def test_what_attributes_ask_for() -> None:
    assert request({}).is_empty
    assert request({"kvm_cpu_pinning": "none", "kvm_hugepages": "none"}).is_empty
    assert not request({}, {"vm_pinned_cpus": "1"}).is_empty
    asked = request(
        {"kvm_cpu_pinning": "numa", "kvm_hugepages": "1G", "kvm_pci_devices": "gpu"},
        {"vm_pinned_cpus": "1-3", "vm_pci_pools": "gpu:3b:00.0"},
    )
    assert (asked.pinning, asked.page_kb, asked.devices) == ("numa", 1048576, {"gpu": 1})
    assert (asked.lent_cpus, asked.pools) == ({1, 2, 3}, {"gpu": ("0000:3b:00.0",)})


def test_cpus_of_the_sites_own_xml() -> None:
    own = "<vcpupin vcpu='0' cpuset='2-3'/>\n<vcpupin vcpu='1' cpuset='8'/><emulatorpin cpuset='0'/>"
    assert request({"kvm_cpu_pinning": own}).fixed_cpus == {2, 3, 8}
    assert request({"kvm_cpu_pinning": "<vcpupin"}).fixed_cpus == frozenset()
    bomb = "<!DOCTYPE x [<!ENTITY a '1'>]><vcpupin cpuset='&a;'/>"
    assert request({"kvm_cpu_pinning": bomb}).fixed_cpus == frozenset()


def test_a_value_of_an_earlier_release_is_refused_with_the_command_that_corrects_it() -> None:
    with pytest.raises(
        StateError, match="the attribute vm_pci_pools of .* rocks set host attr .* vm_pci_pools VALUE"
    ):
        request({}, {"vm_pci_pools": "what"})
    with pytest.raises(StateError, match="kvm_queues"):
        queues_of(machine(attributes={"kvm_queues": "many"}))
    with pytest.raises(StateError, match="kvm_iothreads"):
        iothreads_of(machine(attributes={"kvm_iothreads": "many"}))
    with pytest.raises(StateError, match="kvm_hugepages"):
        request({"kvm_hugepages": "64K"})
