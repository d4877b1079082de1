"""PCI devices of a host, leased by pool to virtual machines. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import Code, StateError
from rocks.machine.placement.shapes import DeviceRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rocks.fleet.wire.placement import PciFact
    from rocks.machine.placement.shapes import ShapeRequest


def plan_pci_devices(
    vm: ShapeRequest, facts: Sequence[PciFact], rows: Iterable[DeviceRow]
) -> tuple[DeviceRow, ...]:
    """The first free devices of each pool. `rows` are the leases of other machines on the host.

    Devices of one IOMMU group go to one machine. StateError when a pool has too few.
    """
    found = {fact.address: fact for fact in facts}
    holders = {row.address: row.name for row in rows}
    groups = {found[address].group: name for address, name in holders.items() if address in found}
    chosen: list[DeviceRow] = []
    for pool, number in vm.devices.items():
        name, addresses = _pool(vm, pool)
        usable = [
            address
            for address in addresses
            if address not in holders
            and (fact := found.get(address)) is not None
            and fact.group is not None
            and fact.group not in groups
        ]
        if len(usable) < number:
            raise _too_few(vm, name, number, addresses, found, holders, groups)
        chosen += [DeviceRow(vm.host, address, name, vm.name, vm.token) for address in usable[:number]]
    return tuple(chosen)


def _pool(vm: ShapeRequest, pool: str) -> tuple[str, tuple[str, ...]]:
    for name, addresses in vm.pools.items():
        if name.lower() == pool.lower():
            return name, addresses
    listed = ", ".join(vm.pools) or "none"
    raise StateError(
        f"{vm.name} is not started: it asks for PCI devices of the pool {pool}, and {vm.host} has the pools: "
        f"{listed}; declare it (rocks set host attr {vm.host} vm_pci_pools {pool}:ADDRESS,ADDRESS), or choose "
        f"another host (rocks set host vm {vm.name} physnode=HOST)"
    )


def _too_few(
    vm: ShapeRequest,
    pool: str,
    number: int,
    addresses: Sequence[str],
    found: Mapping[str, PciFact],
    holders: Mapping[str, str],
    groups: Mapping[int | None, str],
) -> StateError:
    states = []
    for address in addresses:
        fact = found.get(address)
        if address in holders:
            state = f"is leased to {holders[address]}"
        elif fact is None or not fact.exists:
            state = "is not on the host"
        elif fact.group is None:
            state = "has no IOMMU group (switch the IOMMU on: intel_iommu=on or amd_iommu=on in the kernel's arguments)"
        elif fact.group in groups:
            state = f"is in one IOMMU group with a device of {groups[fact.group]}"
        else:
            state = "is free"
        states.append(f"{address} {state}")
    return StateError(
        f"{vm.name} is not started: it needs {number} PCI device{'s' * (number > 1)} of the pool {pool} of "
        f"{vm.host}: {'; '.join(states)}. Stop another machine (rocks list host vm shape), correct the pool (rocks "
        f"set host attr {vm.host} vm_pci_pools …), or choose another host (rocks set host vm {vm.name} "
        "physnode=HOST)",
        code=Code.HOST_FULL,
    )
