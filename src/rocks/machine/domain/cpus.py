"""CPUs and memory in the libvirt domain of a virtual machine, as lines of XML. Pure. Source: specification §5.8.

Up to their maximum they can be added while it runs; memory only to a domain with a NUMA node (libvirt: Memory devices).

A machine with `kvm_cpu_pinning` `pin_all` or `numa` is one for HPC: unless attributes say otherwise, it has
`host-passthrough`, the topology of its cores, a queue for each CPU, an io thread and no HPET. `host-
passthrough` for all was refused: it forbids to move machines between generations of hosts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lxml import etree

from rocks.core.errors import StateError
from rocks.core.units import KIB_PER_MB
from rocks.inventory.records import VirtualMachine
from rocks.machine.domain.elements import element, lines_of
from rocks.machine.placement.placement_attributes import iothreads_of, page_size_kb, pinning_of
from rocks.machine.placement.shapes import Placement
from rocks.machine.placement.values import LIBVIRT_CPU_MODES, PINNED, write_cpu_set
from rocks.machine.spec import max_cpus, max_memory_mb

VIRT_TYPE = "hvm"
PASSTHROUGH = "host-passthrough"
SLOTS = 16
"""Memory modules that can be added."""


def cpu_and_memory(vm: VirtualMachine, placement: Placement | None = None) -> list[str]:
    """Memory, CPUs, their model and pins, and the features of the machine.

    Without a placement, which a start decides, nothing of its host is named; `pin_all` then has the CPUs from 0.
    """
    place = placement or Placement()
    lines = lines_of(element("memory", text=str(vm.memory_mb * KIB_PER_MB)), 2)
    lines += _huge_pages(vm)
    floating = {"cpuset": write_cpu_set(place.floating)} if place.floating else {}
    lines += lines_of(element("vcpu", floating, text=str(vm.host.cpus)), 2)
    threads = iothreads_of(vm)
    if threads:
        lines += lines_of(element("iothreads", text=str(threads)), 2)
    lines += _model(vm, place)
    lines += _pins(vm, place, threads)
    lines += _memory_nodes(place)
    if vm.virt_type == VIRT_TYPE:
        default = "    <acpi/>\n    <apic/>\n    <pae/>"
        features = vm.host.attribute("HVM_Features") or default
        lines += ["  <features>", *features.split("\n"), "  </features>"]
    if pinning_of(vm) in PINNED:
        lines += _clock()
    return lines


def _huge_pages(vm: VirtualMachine) -> list[str]:
    size_kb = page_size_kb(vm)
    if not size_kb:
        return []
    page = element("page", {"size": str(size_kb), "unit": "KiB"})
    return lines_of(element("memoryBacking", {}, element("hugepages", {}, page)), 2)


def _model(vm: VirtualMachine, place: Placement) -> list[str]:
    """The CPU: its mode or model, what the site's XML has inside, and the topology of a pinned machine."""
    text = vm.host.attribute("cpu_mode") or (PASSTHROUGH if pinning_of(vm) in PINNED else "")
    if not text:
        return []
    mode, _, inner = text.partition(":")
    if mode in LIBVIRT_CPU_MODES or inner:
        cpu = element("cpu", {"mode": mode})
    else:
        # a machine that moves between hosts of a mixed site sees the same CPU on each, or does not start
        model = element("model", {"fallback": "forbid"}, text=mode)
        cpu = element("cpu", {"mode": "custom", "match": "exact", "check": "partial"}, model)
    cpu.extend(_topology(place, mode, inner))
    if not inner:
        return lines_of(cpu, 2)
    *opening, closing = lines_of(cpu, 2) if len(cpu) else [*_opened(cpu), "  </cpu>"]
    return [*opening, *inner.split("\n"), closing]


def _opened(cpu: etree._Element) -> list[str]:
    return [line.removesuffix("/>") + ">" for line in lines_of(cpu, 2)]


def _topology(place: Placement, mode: str, inner: str) -> Iterable[etree._Element]:
    """Sockets, cores and threads, and NUMA nodes, as on the host; the site's own XML comes first."""
    if not place.pins:
        return
    if "<topology" not in inner:
        sockets = max(1, len(place.cells))
        cores = len(place.pins) // sockets // place.threads
        counts = {"sockets": str(sockets), "cores": str(cores), "threads": str(place.threads)}
        yield element("topology", counts)
    if mode == PASSTHROUGH:
        if "<cache" not in inner:
            yield element("cache", {"mode": "passthrough"})
        if place.needs_topoext and "topoext" not in inner:
            # without it, QEMU hides the threads of AMD's cores
            yield element("feature", {"policy": "require", "name": "topoext"})
    if len(place.cells) > 1 and "<numa" not in inner:
        cells = (
            element(
                "cell",
                {
                    "id": str(number),
                    "cpus": write_cpu_set(cell.cpus),
                    "memory": str(cell.memory_kb),
                    "unit": "KiB",
                },
            )
            for number, cell in enumerate(place.cells)
        )
        yield element("numa", {}, *cells)


def _pins(vm: VirtualMachine, place: Placement, threads: int) -> list[str]:
    pinning = vm.host.attribute("kvm_cpu_pinning")
    if pinning_of(vm) == "fixed":
        return ["  <cputune>", *pinning.split("\n"), "  </cputune>"]
    cpus = place.pins or (range(vm.host.cpus) if pinning == "pin_all" else ())
    tuned = [element("vcpupin", {"vcpu": str(number), "cpuset": str(cpu)}) for number, cpu in enumerate(cpus)]
    if place.helpers or place.allocating:
        emulator = (*(place.helpers or place.floating), *place.allocating)
        tuned.append(element("emulatorpin", {"cpuset": write_cpu_set(emulator)}))
    if place.helpers:
        helpers = write_cpu_set(place.helpers)
        tuned += [
            element("iothreadpin", {"iothread": str(number), "cpuset": helpers})
            for number in range(1, threads + 1)
        ]
    return lines_of(element("cputune", {}, *tuned), 2) if tuned else []


def _memory_nodes(place: Placement) -> list[str]:
    """Where the memory comes from: the host's node of each of the guest's nodes, or the only one."""
    nodes = [cell.node for cell in place.cells] or [n for n in (place.memory_node,) if n is not None]
    if not nodes:
        return []
    tuned = [element("memory", {"mode": "strict", "nodeset": write_cpu_set(nodes)})]
    if len(nodes) > 1:
        tuned += [
            element("memnode", {"cellid": str(number), "mode": "strict", "nodeset": str(node)})
            for number, node in enumerate(nodes)
        ]
    return lines_of(element("numatune", {}, *tuned), 2)


def _clock() -> list[str]:
    """Ticks that the guest missed are made up for slowly, and it has no timer that interrupts its cores for nothing."""
    timers = (
        element("timer", {"name": "rtc", "tickpolicy": "catchup"}),
        element("timer", {"name": "pit", "tickpolicy": "delay"}),
        element("timer", {"name": "hpet", "present": "no"}),
    )
    return lines_of(element("clock", {"offset": "utc"}, *timers), 2)


def with_maxima(vm: VirtualMachine, lines: Sequence[str]) -> list[str]:
    """The block `cpumem` of the document with the maxima; unchanged for a machine without them.

    A document with a CPU topology or NUMA nodes keeps its number of CPUs, which those name one by one. StateError when
    the site's own XML in it is not well-formed.
    """
    cpus, memory_mb = max_cpus(vm), max_memory_mb(vm)
    if cpus <= vm.host.cpus and memory_mb <= vm.memory_mb:
        return list(lines)
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_blank_text=True)
    try:
        block = etree.fromstring("\n".join(["<block>", *lines, "</block>"]).encode(), parser)
    except etree.XMLSyntaxError as error:
        raise StateError(
            f"the attributes cpu_mode, kvm_cpu_pinning or HVM_Features of {vm.name} are not well-formed XML: {error}"
        ) from None
    if cpus > vm.host.cpus and block.find("cpu/topology") is None and block.find("cpu/numa") is None:
        _raise_cpus(block, vm.host.cpus, cpus)
    if memory_mb > vm.memory_mb:
        _raise_memory(block, vm, memory_mb)
    etree.indent(block, "  ")
    return etree.tostring(block, encoding="unicode").splitlines()[1:-1]


def _raise_cpus(block: etree._Element, cpus: int, most: int) -> None:
    vcpu = block.find("vcpu")
    if vcpu is not None:
        vcpu.set("current", str(cpus))
        vcpu.text = str(most)


def _raise_memory(block: etree._Element, vm: VirtualMachine, memory_mb: int) -> None:
    most = etree.Element("maxMemory", {"slots": str(SLOTS), "unit": "KiB"})
    most.text = str(memory_mb * KIB_PER_MB)
    block.insert(0, most)
    cpu = block.find("cpu")
    if cpu is None:
        cpu = etree.Element("cpu")
        vcpu = block.find("vcpu")
        block.insert(len(block) if vcpu is None else block.index(vcpu) + 1, cpu)
    if cpu.find("numa") is None:
        last = int(block.findtext("vcpu") or vm.host.cpus) - 1
        cell = {"id": "0", "cpus": f"0-{last}", "memory": str(vm.memory_mb * KIB_PER_MB), "unit": "KiB"}
        etree.SubElement(etree.SubElement(cpu, "numa"), "cell", cell)
