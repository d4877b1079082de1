"""The shape of the machine: its NUMA nodes with their cores, memory and huge pages, and PCI devices. Reads sysfs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Iterable, List, Optional, Set, Tuple

from rocks.core.files import text_if_readable
from rocks.fleet.wire.placement import NodeFact, PagesFact, PciFact, ShapeFact, ShapeQuestion
from rocks.machine.host.host_facts import parse_memory_kib

_PAGES = re.compile(r"hugepages-([0-9]+)kB")
_NODE = re.compile(r"node([0-9]+)")
_CPU = re.compile(r"cpu([0-9]+)")
_MEMORY = re.compile(r"MemTotal:\s+([0-9]+)")


def read_shape(question: ShapeQuestion, sysfs: Path = Path("/sys"), proc: Path = Path("/proc")) -> ShapeFact:
    """The nodes with a number of their own; one node 0 with everything where the kernel has no NUMA."""
    folder = sysfs / "devices/system"
    numbers = _numbers(folder / "node", _NODE)
    if numbers:
        nodes = tuple(_node(folder, number) for number in numbers)
    else:
        pages = _pages(sysfs / "kernel/mm/hugepages")
        memory = parse_memory_kib(text_if_readable(proc / "meminfo"))
        nodes = (NodeFact(0, memory, _cores(folder / "cpu", _numbers(folder / "cpu", _CPU)), pages),)
    devices = tuple(_device(sysfs / "bus/pci/devices" / address, address) for address in question.devices)
    return ShapeFact(nodes, devices, " topoext" in text_if_readable(proc / "cpuinfo"))


def parse_cpu_list(text: str) -> List[int]:
    """The CPUs of a list of the kernel (0-3,8), in order."""
    found: Set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            found.update(range(int(first), int(last or first) + 1))
    return sorted(found)


def _node(folder: Path, number: int) -> NodeFact:
    place = folder / "node" / f"node{number}"
    memory = _MEMORY.search(text_if_readable(place / "meminfo"))
    cores = _cores(folder / "cpu", parse_cpu_list(text_if_readable(place / "cpulist")))
    return NodeFact(number, int(memory.group(1)) if memory else 0, cores, _pages(place / "hugepages"))


def _cores(folder: Path, cpus: Iterable[int]) -> Tuple[Tuple[int, ...], ...]:
    """The CPUs that are online, by cores; a CPU without a topology is a core of its own."""
    online = text_if_readable(folder / "online")
    usable = set(cpus) & set(parse_cpu_list(online)) if online else set(cpus)
    cores = set()
    for cpu in usable:
        # older kernels than 5.3 have the second name only
        topology = folder / f"cpu{cpu}" / "topology"
        siblings = (
            text_if_readable(topology / "core_cpus_list")
            or text_if_readable(topology / "thread_siblings_list")
            or str(cpu)
        )
        cores.add(tuple(sorted(usable.intersection(parse_cpu_list(siblings)) | {cpu})))
    return tuple(sorted(cores))


def _pages(folder: Path) -> Tuple[PagesFact, ...]:
    found = []
    for size_kb in _numbers(folder, _PAGES):
        place = folder / f"hugepages-{size_kb}kB"
        found.append(PagesFact(size_kb, _number(place / "nr_hugepages"), _number(place / "free_hugepages")))
    return tuple(found)


def _device(place: Path, address: str) -> PciFact:
    group: Optional[int] = None
    try:
        group = int((place / "iommu_group").resolve(strict=True).name)
    except (OSError, ValueError):
        pass  # no IOMMU, or no such device
    return PciFact(address, place.exists(), group)


def _numbers(folder: Path, form: "re.Pattern[str]") -> List[int]:
    """The numbers in the names of a folder, in order; none when there is no such folder."""
    try:
        matches = [form.fullmatch(path.name) for path in folder.iterdir()]
    except OSError:
        return []
    return sorted(int(match.group(1)) for match in matches if match)


def _number(path: Path) -> int:
    text = text_if_readable(path)
    return int(text) if text.isdigit() else 0
