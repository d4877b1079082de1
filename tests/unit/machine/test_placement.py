"""Which cores, memory and devices a machine gets of its host."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.core.errors import StateError
from rocks.fleet.wire.facts import NodeFact, PagesFact, PciFact, ShapeFact
from rocks.machine.placement import (
    Cell,
    CoreRow,
    DeviceRow,
    PageReserve,
    PageRow,
    Placement,
    ShapeLeases,
    ShapeRequest,
    iothreads_of,
    plan_shape,
    queues_of,
    read_cpu_set,
    read_page_reserve,
    read_pci_pools,
    read_pci_requests,
    read_request,
    write_cpu_set,
)
from tests.unit.machines import container, machine

HOST = "vmc-0-0"
MB = 1024


def node(number: int, first: int, cores: int = 4, threads: int = 2, pages: int = 0) -> NodeFact:
    """A node of 16 GB whose second threads have the numbers from `first` + 16, with free pages of 2 MB."""
    pairs = tuple(tuple(first + core + 16 * thread for thread in range(threads)) for core in range(cores))
    return NodeFact(
        number, 16 * 1024 * MB, pairs, (PagesFact(2048, pages, pages), PagesFact(1024 * MB, 4, 4))
    )


TWO = ShapeFact((node(0, 0, pages=512), node(1, 4, pages=1024)))
PLAIN = ShapeFact((node(0, 0, threads=1), node(1, 4, threads=1)))


def request(pinning: str = "numa", cpus: int = 4, memory_mb: int = 1024, **more: object) -> ShapeRequest:
    """What the machine web asks for, under token 7."""
    return ShapeRequest("web", HOST, 7, cpus, memory_mb, pinning)._replace(**more)  # type: ignore[arg-type]


def cores(name: str, *cpus: int, token: int = 3) -> ShapeLeases:
    """Cores that another machine has."""
    return ShapeLeases(tuple(CoreRow(HOST, cpu, name, token) for cpu in cpus))


def pages(name: str, number: int, count: int, size_kb: int = 2048) -> ShapeLeases:
    """Pages that another machine has."""
    return ShapeLeases(pages=(PageRow(HOST, number, size_kb, count, name, 3),))


def placed(asked: ShapeRequest, facts: ShapeFact = TWO, leased: ShapeLeases | None = None) -> Placement:
    """The placement alone."""
    return plan_shape(asked, facts, leased or ShapeLeases())[0]


def test_numa_takes_whole_cores_of_one_node_with_their_threads_side_by_side() -> None:
    placement, leases = plan_shape(request(), TWO, ShapeLeases())
    assert placement == Placement(
        pins=(0, 16, 1, 17), threads=2, cells=(Cell(0, (0, 1, 2, 3), 1024 * MB),), helpers=(0, 1, 16, 17)
    )
    assert [row.cpu for row in leases.cores] == [0, 16, 1, 17]
    assert leases.pages == (PageRow(HOST, 0, 4, 1024 * MB // 4, "web", 7),)


def test_numa_spreads_in_equal_parts_when_no_node_suffices() -> None:
    placement = placed(request(cpus=12, memory_mb=1025))
    assert [cell.node for cell in placement.cells] == [0, 1]
    assert [cell.cpus for cell in placement.cells] == [tuple(range(6)), tuple(range(6, 12))]
    assert sum(cell.memory_kb for cell in placement.cells) == 1025 * MB
    assert placement.pins == (0, 16, 1, 17, 2, 18, 4, 20, 5, 21, 6, 22)


def test_the_node_with_the_fewest_cores_that_suffice_is_taken() -> None:
    assert placed(request(cpus=2), leased=cores("other", 4, 20, 5, 21)).pins == (6, 22)
    assert placed(request(cpus=6), leased=cores("other", 4, 20, 5, 21)).pins == (0, 16, 1, 17, 2, 18)


def test_an_odd_number_of_cpus_leases_the_whole_last_core() -> None:
    placement, leases = plan_shape(request(cpus=3), TWO, ShapeLeases())
    assert (placement.pins, placement.threads) == ((0, 16, 1), 1)
    assert {row.cpu for row in leases.cores} == {0, 16, 1, 17}


def test_a_core_of_which_one_thread_is_leased_or_not_lent_is_not_taken() -> None:
    assert placed(request("pin_all", cpus=2), leased=cores("other", 16)).pins == (1, 17)
    lent = frozenset({0, 1, 17})
    assert placed(request("pin_all", cpus=2, lent_cpus=lent)).pins == (1, 17)


def test_helpers_keep_off_the_cores_of_others() -> None:
    lent = frozenset(range(2, 8)) | frozenset(range(18, 24))
    placement = placed(request("pin_all", cpus=2, lent_cpus=lent))
    assert placement.helpers == (0, 1, 16, 17)
    assert placed(request("none", lent_cpus=lent)).floating == (0, 1, 16, 17)


def test_qemu_may_run_on_each_node_whose_huge_pages_it_fills() -> None:
    """Of libvirt's CPUs for its main thread, one at least must be there: else it ends at its start."""
    second = frozenset(range(4, 8)) | frozenset(range(20, 24))
    asked = request("numa", cpus=2, page_kb=2048, lent_cpus=second)
    placement = placed(asked)
    assert (placement.helpers[-1], placement.pins, placement.allocating) == (19, (4, 20), (4, 20))
    assert placed(asked._replace(page_kb=0)).allocating == ()
    assert placed(asked._replace(lent_cpus=second - {7, 23})).allocating == ()
    # not pinned: memory beside its CPUs; where that is leased, elsewhere, and the cores there that nobody has
    first = request("none", page_kb=2048, lent_cpus=second ^ frozenset(range(8)) ^ frozenset(range(16, 24)))
    assert (placed(first).memory_node, placed(first).allocating) == (1, ())
    placement = placed(first, leased=pages("other", 1, 1024).plus(cores("other", 0, 16, 1, 17, 2)))
    assert (placement.memory_node, placement.allocating) == (0, (3, 18, 19))


def test_pin_all_goes_over_several_nodes_when_it_must() -> None:
    placement = placed(request("pin_all", cpus=10))
    assert (placement.pins, placement.cells) == ((0, 16, 1, 17, 2, 18, 3, 19, 4, 20), ())


def test_huge_pages_decide_on_the_node() -> None:
    placement, leases = plan_shape(request("pin_all", memory_mb=2048, page_kb=2048), TWO, ShapeLeases())
    assert (placement.pins[0], placement.memory_node) == (4, 1)
    assert leases.pages == (PageRow(HOST, 1, 2048, 1024, "web", 7),)
    assert placed(request(memory_mb=2048, page_kb=2048)).cells == (Cell(1, (0, 1, 2, 3), 2048 * MB),)
    assert placed(request("none", page_kb=2048)).memory_node == 0
    assert placed(request("none", page_kb=2048), replace(TWO, nodes=TWO.nodes[:1])).memory_node is None


def test_pages_that_are_leased_or_in_use_are_not_free() -> None:
    asked = request("none", page_kb=2048)
    assert placed(asked, leased=pages("other", 0, 1)).memory_node == 1
    used = replace(TWO.nodes[0], pages=(PagesFact(2048, 512, 511),))
    assert placed(asked, ShapeFact((used, TWO.nodes[1]))).memory_node == 1


def test_too_few_cores() -> None:
    with pytest.raises(StateError) as raised:
        placed(request(cpus=14), leased=cores("other", 0, 16, 5))
    text = str(raised.value)
    assert "web is not started: it needs whole cores for 14 CPUs, in equal parts on NUMA nodes" in text
    assert (
        f"{HOST} has free cores: 3 on node 0, 3 on node 1 (leased to other; rocks list host vm shape)" in text
    )
    with pytest.raises(StateError, match="4 on node 0, 4 on node 1 .leased to no machine"):
        placed(request(cpus=17))


def test_too_few_pages() -> None:
    asked = request("none", memory_mb=4096, page_kb=2048)
    with pytest.raises(
        StateError, match="needs 2048 huge pages of 2M on one NUMA node, and vmc-0-0 has free: 512 on "
    ):
        placed(asked)
    with pytest.raises(StateError, match="0 on node 1 .leased to other.; reserve more"):
        placed(asked, leased=pages("other", 1, 1024))
    with pytest.raises(
        StateError, match="not a multiple of its huge pages of 1024 MB; rocks set host vm web mem=2048"
    ):
        placed(request("none", memory_mb=1025, page_kb=1024 * MB))
    with pytest.raises(
        StateError, match="do not fit on the NUMA nodes of its cores; vmc-0-0 has 11164 MB on node 0, "
    ):
        placed(request(memory_mb=30000, reserve_mb=200))


def test_fixed_pins_are_leased_and_respected() -> None:
    asked = request("fixed", cpus=2, fixed_cpus=frozenset({2, 3}))
    placement, leases = plan_shape(asked, TWO, ShapeLeases())
    assert placement == Placement()
    assert [row.cpu for row in leases.cores] == [2, 3]
    with pytest.raises(
        StateError, match=r"CPUs of vmc-0-0 that other has \(3\); stop it \(rocks stop host vm other\)"
    ):
        plan_shape(asked, TWO, cores("other", 3))
    with pytest.raises(StateError, match="pinned to the CPU 40, which vmc-0-0 does not have"):
        plan_shape(asked._replace(fixed_cpus=frozenset({40})), TWO, ShapeLeases())


def test_no_cpu_is_left_for_machines_without_pins() -> None:
    with pytest.raises(StateError, match="vm_pinned_cpus of vmc-0-0 lends all its CPUs to pinned machines"):
        placed(request("none", lent_cpus=frozenset(range(32))))


def test_amd_threads_are_asked_for() -> None:
    amd = replace(TWO, has_topoext=True)
    assert placed(request(), amd).needs_topoext
    assert not placed(request(cpus=3), amd).needs_topoext
    assert not placed(request(), replace(PLAIN, has_topoext=True)).needs_topoext


def test_a_start_that_was_cut_off_finds_its_cores_again() -> None:
    mine = cores("WEB", 6, 22, 7, 23, token=7)
    assert placed(request(), leased=mine).pins == (6, 22, 7, 23)
    assert placed(request(cpus=6), leased=mine).pins == (0, 16, 1, 17, 2, 18)
    older = cores("web", 0, 16, token=6)
    assert 0 not in placed(request("pin_all", cpus=2), leased=older).pins


DEVICES = (
    PciFact("0000:3b:00.0", True, 10),
    PciFact("0000:5e:00.0", True, 11),
    PciFact("0000:5e:00.1", True, 11),
    PciFact("0000:d8:00.0", True, None),
    PciFact("0000:d9:00.0", False, None),
)
POOLS = {
    "GPU": ("0000:3b:00.0", "0000:5e:00.0"),
    "nvme": ("0000:5e:00.1",),
    "odd": ("0000:d8:00.0", "0000:d9:00.0"),
}


def device(address: str, name: str = "other") -> ShapeLeases:
    """A device that another machine has."""
    return ShapeLeases(devices=(DeviceRow(HOST, address, "GPU", name, 3),))


def test_the_first_free_devices_of_a_pool_are_leased() -> None:
    facts = replace(TWO, devices=DEVICES)
    asked = request("none", pools=POOLS, devices={"gpu": 1})
    placement, leases = plan_shape(asked, facts, ShapeLeases())
    assert placement.devices == ("0000:3b:00.0",)
    assert leases.devices == (DeviceRow(HOST, "0000:3b:00.0", "GPU", "web", 7),)
    assert placed(asked, facts, device("0000:3b:00.0")).devices == ("0000:5e:00.0",)
    assert placed(asked._replace(devices={"gpu": 2, "nvme": 1}), facts).devices == (
        "0000:3b:00.0",
        "0000:5e:00.0",
        "0000:5e:00.1",
    )


@pytest.mark.parametrize(
    ("devices", "taken", "part"),
    [
        (
            {"gpu": 2},
            "0000:3b:00.0",
            "needs 2 PCI devices of the pool GPU of vmc-0-0: 0000:3b:00.0 is leased to other",
        ),
        ({"nvme": 1}, "0000:5e:00.0", "0000:5e:00.1 is in one IOMMU group with a device of other"),
        ({"odd": 1}, "0000:3b:00.0", "0000:d8:00.0 has no IOMMU group .*; 0000:d9:00.0 is not on the host"),
        ({"fpga": 1}, "0000:3b:00.0", "the pool fpga, and vmc-0-0 has the pools: GPU, nvme, odd"),
    ],
)
def test_devices_that_are_short(devices: dict[str, int], taken: str, part: str) -> None:
    with pytest.raises(StateError, match=part):
        placed(request("none", pools=POOLS, devices=devices), replace(TWO, devices=DEVICES), device(taken))


machines = st.lists(
    st.tuples(
        st.sampled_from(["none", "pin_all", "numa"]),
        st.integers(1, 9),
        st.sampled_from([128, 512, 1024, 3072]),
        st.sampled_from([0, 2048, 1024 * MB]),
    ),
    max_size=8,
)


@given(machines, st.sampled_from([TWO, PLAIN]))
def test_no_two_machines_share_a_core_and_no_page_is_promised_twice(
    asked: list[tuple[str, int, int, int]], facts: ShapeFact
) -> None:
    leased = ShapeLeases()
    for number, (pinning, cpus, memory_mb, page_kb) in enumerate(asked):
        one = ShapeRequest(f"vm{number}", HOST, number, cpus, memory_mb, pinning, page_kb=page_kb)
        try:
            placement, leases = plan_shape(one, facts, leased)
        except StateError as error:
            assert f"vm{number} is not started" in str(error)
            continue
        if pinning != "none":
            assert len(placement.pins) == len(set(placement.pins)) == cpus
            assert {*placement.pins} <= {row.cpu for row in leases.cores}
        if page_kb or pinning == "numa":
            assert sum(row.pages * row.size_kb for row in leases.pages) == memory_mb * MB
        leased = leased.plus(leases)
    cpus_taken = [row.cpu for row in leased.cores]
    assert len(cpus_taken) == len(set(cpus_taken))
    for one_node in facts.nodes:
        for size in one_node.pages:
            taken = [r.pages for r in leased.pages if (r.node, r.size_kb) == (one_node.number, size.size_kb)]
            assert sum(taken) <= size.total


# Values of attributes that shape machines.


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


def request_of(machine_has: dict[str, str], host_has: dict[str, str] | None = None) -> ShapeRequest:
    """What a machine with these attributes asks of a host with those."""
    place = container(**{"kvm": "true", **(host_has or {})})
    return read_request(machine(place=place, attributes=machine_has, cpus=4), 7)


def test_what_attributes_ask_for() -> None:
    assert request_of({}).is_empty
    assert request_of({"kvm_cpu_pinning": "none", "kvm_hugepages": "none"}).is_empty
    assert not request_of({}, {"vm_pinned_cpus": "1"}).is_empty
    asked = request_of(
        {"kvm_cpu_pinning": "numa", "kvm_hugepages": "1G", "kvm_pci_devices": "gpu"},
        {"vm_pinned_cpus": "1-3", "vm_pci_pools": "gpu:3b:00.0"},
    )
    assert (asked.pinning, asked.page_kb, asked.devices) == ("numa", 1048576, {"gpu": 1})
    assert (asked.lent_cpus, asked.pools) == ({1, 2, 3}, {"gpu": ("0000:3b:00.0",)})


def test_cpus_of_the_sites_own_xml() -> None:
    own = "<vcpupin vcpu='0' cpuset='2-3'/>\n<vcpupin vcpu='1' cpuset='8'/><emulatorpin cpuset='0'/>"
    assert request_of({"kvm_cpu_pinning": own}).fixed_cpus == {2, 3, 8}
    assert request_of({"kvm_cpu_pinning": "<vcpupin"}).fixed_cpus == frozenset()
    bomb = "<!DOCTYPE x [<!ENTITY a '1'>]><vcpupin cpuset='&a;'/>"
    assert request_of({"kvm_cpu_pinning": bomb}).fixed_cpus == frozenset()


def test_a_value_of_an_earlier_release_is_refused_with_the_command_that_corrects_it() -> None:
    with pytest.raises(
        StateError, match="the attribute vm_pci_pools of .* rocks set host attr .* vm_pci_pools VALUE"
    ):
        request_of({}, {"vm_pci_pools": "what"})
    with pytest.raises(StateError, match="kvm_queues"):
        queues_of(machine(attributes={"kvm_queues": "many"}))
    with pytest.raises(StateError, match="kvm_iothreads"):
        iothreads_of(machine(attributes={"kvm_iothreads": "many"}))
    with pytest.raises(StateError, match="kvm_hugepages"):
        request_of({"kvm_hugepages": "64K"})
