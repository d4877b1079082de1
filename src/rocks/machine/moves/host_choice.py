"""Where the virtual machines of a host go that is emptied, or has failed. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import StateError
from rocks.machine.plans import is_too_old

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rocks.inventory.records import VirtualMachine


class Capacity(NamedTuple):
    """A host, and its memory in MB that is neither reserved nor given to machines which are recorded there."""

    host: str
    free_mb: int
    qemu: str = ""
    """The version of its QEMU, as in `HostFacts`."""


def choose_host(vm: VirtualMachine, capacities: Sequence[Capacity]) -> Capacity:
    """The host with the most free memory. StateError when none has enough for the machine."""
    best = max(capacities, key=lambda capacity: capacity.free_mb)
    if best.free_mb < vm.memory_mb:
        hosts = ", ".join(capacity.host for capacity in capacities)
        raise StateError(
            f"{vm.name} has {vm.memory_mb} MB of memory, and none of {hosts} has that much left ({best.host} has "
            f"{max(0, best.free_mb)} MB, the most); name other hosts by to="
        )
    return best


def choose_live(vm: VirtualMachine, machine_type: str, capacities: Sequence[Capacity]) -> Capacity:
    """As `choose_host`, for a machine that moves while it runs: hosts whose QEMU knows its machine type come first."""
    knowing = [one for one in capacities if not is_too_old(one.qemu, machine_type)]
    enough = any(one.free_mb >= vm.memory_mb for one in knowing)
    return choose_host(vm, knowing if enough else capacities)


def taken(vm: VirtualMachine, capacity: Capacity, capacities: Sequence[Capacity]) -> list[Capacity]:
    """The capacities, when the machine is there as well."""
    return [
        one._replace(free_mb=one.free_mb - vm.memory_mb) if one == capacity else one for one in capacities
    ]


def why_only_there(vm: VirtualMachine, on_nas: Collection[int]) -> str:
    """Why the machine can start on its failed host only: what it has there; empty when it can start elsewhere.

    `on_nas` has the numbers of disks that a NAS has.
    """
    local = [disk.specification for number, disk in enumerate(vm.disks) if number not in on_nas]
    if local:
        return f"its disk {local[0]} is on that host alone"
    return "" if vm.disks else "it has no disk"
