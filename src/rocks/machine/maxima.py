"""What bounds the CPUs and memory of a machine: its own maxima while it runs, and its physical host. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError
from rocks.core.values import HIGHEST_NUMBER, read_number
from rocks.inventory.limits import MAX_VM_CPUS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.inventory.records import Host, VirtualMachine

MAX_CPUS_ATTRIBUTE = "kvm_max_cpus"
MAX_MEMORY_ATTRIBUTE = "kvm_max_memory"


def max_cpus(vm: VirtualMachine) -> int:
    """The maximum of CPUs; its present number without one, or with a lower one."""
    return max(vm.host.cpus, _number(vm, MAX_CPUS_ATTRIBUTE, MAX_VM_CPUS))


def max_memory_mb(vm: VirtualMachine) -> int:
    """The maximum of memory in MB; the present memory without one, or with a lower one."""
    return max(vm.memory_mb, _number(vm, MAX_MEMORY_ATTRIBUTE))


def check_maximum(vm: VirtualMachine, word: str, most: int, present: int) -> None:
    """UserError for a maximum below what the machine has; `word` is the parameter, maxcpus or maxmem."""
    if most < present:
        present_word = word.removeprefix("max")
        raise UserError(
            f"{word}={most} is no maximum for {vm.name}: {present_word} is {present}; give {word}={present} or more, "
            f"or a lower {present_word}= with it"
        )


class Placed(NamedTuple):
    """A virtual machine on its physical host; memory in MB."""

    name: str
    cpus: int
    memory_mb: int
    container: Host


def too_many_cpus(vm: Placed) -> str | None:
    """The warning about a machine with more CPUs than its physical host has by its record, which may be wrong.

    None for others, and for a host with one CPU: that is the record of a host whose number nobody has given.
    """
    container = vm.container
    if container.cpus == 1 or vm.cpus <= container.cpus:
        return None
    return (
        f"{vm.name} has {vm.cpus} CPUs, and its host {container.name} has {container.cpus} by its record "
        f"(rocks list host {container.name}), so it does not start there; choose another host, or rocks set host vm "
        f"{vm.name} cpus={container.cpus}"
    )


def too_much_memory(machines: Sequence[Placed], available_mb: int) -> str | None:
    """The warning about machines of one physical host that together have more memory than it has for machines.

    None for others.
    """
    vm, memory_mb = max(machines, key=lambda one: one.memory_mb), sum(one.memory_mb for one in machines)
    if memory_mb <= available_mb:
        return None
    others = f" and {len(machines) - 1} more have" if len(machines) > 1 else " has"
    start = "they do not all start" if len(machines) > 1 else "it does not start"
    return (
        f"{vm.name}{others} {memory_mb} MB of memory, and the host {vm.container.name} had {available_mb} MB "
        f"for virtual machines when it was last asked (rocks sync vm lease asks again), so {start} there; choose "
        f"another host, or rocks set host vm {vm.name} mem=MB"
    )


def unfit_memory_maximum(vm: VirtualMachine, available_mb: int | None) -> str | None:
    """The warning about a maximum of memory below what the machine has, or more than its host has; None for others."""
    most, stated_mb = max_memory_mb(vm), _number(vm, MAX_MEMORY_ATTRIBUTE)
    if 0 < stated_mb < vm.memory_mb:
        return (
            f"maxmem={stated_mb} is no maximum for {vm.name}, and has no effect: mem is {vm.memory_mb}; rocks set host "
            f"vm {vm.name} maxmem={vm.memory_mb}, or more"
        )
    if vm.container is None or available_mb is None or most <= available_mb or most == vm.memory_mb:
        return None
    return (
        f"{vm.name} may get up to {most} MB of memory while it runs, and the host {vm.container.name} had "
        f"{available_mb} MB for virtual machines when it was last asked (rocks sync vm lease asks again); "
        f"rocks set host vm {vm.name} maxmem=MB"
    )


def _number(vm: VirtualMachine, attribute: str, largest: int = HIGHEST_NUMBER) -> int:
    """The number; 0 for an invalid one, which another program can have stored."""
    try:
        return read_number(attribute, vm.host.attribute(attribute), 0, largest)
    except UserError:
        return 0
