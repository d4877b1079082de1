"""CPUs and memory in the libvirt domain of a virtual machine, as lines of XML. Pure. Source: specification §5.8."""

from __future__ import annotations

from rocks.cluster.records import VirtualMachine
from rocks.render.elements import element, lines_of
from rocks.units import KIB_PER_MB

VIRT_TYPE = "hvm"


def cpu_and_memory(vm: VirtualMachine) -> list[str]:
    """Memory, CPUs, their model and pins, and the features of the machine."""
    lines = lines_of(element("memory", text=str(vm.memory_mb * KIB_PER_MB)), 2)
    lines += lines_of(element("vcpu", text=str(vm.host.cpus)), 2)
    mode, _, inner = vm.host.attribute("cpu_mode").partition(":")
    if mode:
        opening = lines_of(element("cpu", {"mode": mode}), 2)[0]
        lines += (
            [opening] if not inner else [opening.removesuffix("/>") + ">", *inner.split("\n"), "  </cpu>"]
        )
    pinning = vm.host.attribute("kvm_cpu_pinning")
    if pinning == "pin_all":
        pins = [element("vcpupin", {"vcpu": str(i), "cpuset": str(i)}) for i in range(vm.host.cpus)]
        lines += lines_of(element("cputune", {}, *pins), 2)
    elif pinning:
        lines += ["  <cputune>", *pinning.split("\n"), "  </cputune>"]
    if vm.virt_type == VIRT_TYPE:
        default = "    <acpi/>\n    <apic/>\n    <pae/>"
        features = vm.host.attribute("HVM_Features") or default
        lines += ["  <features>", *features.split("\n"), "  </features>"]
    return lines
