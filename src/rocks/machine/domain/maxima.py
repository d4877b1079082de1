"""The maximum of CPUs and memory of a domain, up to which they can be added while it runs; pure.

Memory can only be added to a domain with a NUMA node (libvirt: Memory devices).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lxml import etree

from rocks.core.errors import StateError
from rocks.core.units import KIB_PER_MB
from rocks.machine.maxima import max_cpus, max_memory_mb

if TYPE_CHECKING:
    from rocks.inventory.records import VirtualMachine

SLOTS = 16
"""Memory modules that can be added."""


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
