"""The maxima up to which a running machine gets CPUs and memory: attributes of the machine. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.cluster.values import read_number
from rocks.errors import UserError

if TYPE_CHECKING:
    from rocks.cluster.records import VirtualMachine

MOST_CPUS_ATTRIBUTE = "kvm_max_cpus"
MOST_MEMORY_ATTRIBUTE = "kvm_max_memory"

MOST_CPUS = 255
"""More need an interrupt controller that a PC of QEMU does not have by itself."""


def most_cpus(vm: VirtualMachine) -> int:
    """The maximum of CPUs; its present number without one, or with a lower one."""
    return max(vm.host.cpus, _number(vm, MOST_CPUS_ATTRIBUTE))


def most_memory_mb(vm: VirtualMachine) -> int:
    """The maximum of memory in MB; the present memory without one, or with a lower one."""
    return max(vm.memory_mb, _number(vm, MOST_MEMORY_ATTRIBUTE))


def _number(vm: VirtualMachine, attribute: str) -> int:
    """The number; 0 for one that an earlier release let a site set."""
    try:
        return read_number(attribute, vm.host.attribute(attribute, "0"), 0)
    except UserError:
        return 0
