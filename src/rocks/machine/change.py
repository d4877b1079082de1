"""Change virtual machines in the database alone: no host is asked.

A machine that gets another host (`physnode=`) takes its VLANs along: the new host gets the interface rows
that they need, on the network on which another host carries them. Rows of the old host stay, since other
machines may need them.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from rocks.core.dataclasses import dataclass
from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.core.values import read_number
from rocks.inventory.attributes.changes import set_attribute
from rocks.inventory.host_records import lock_inventory
from rocks.inventory.hosts import node_ids, set_column
from rocks.inventory.loaded_host_records import load_hosts, which_are_vms
from rocks.leases.fences import check_names_are_not_held
from rocks.leases.lease import ensure_locked, read_leases
from rocks.machine import add
from rocks.machine import record as table
from rocks.machine.add import check_container
from rocks.machine.disks import check_no_copies, check_no_doubt, image_lines, read_disk, split_disks
from rocks.machine.limits import DEFAULT_DISK_GB, LARGEST_DISK_GB, LARGEST_MEMORY_MB, LEAST_MEMORY_MB
from rocks.machine.outcomes import Outcomes
from rocks.machine.record import read_copies
from rocks.machine.spec import (
    LOCAL_TRANSPORT,
    MAX_CPUS_ATTRIBUTE,
    MAX_MEMORY_ATTRIBUTE,
    Placed,
    check_maximum,
    memory_reserve_mb,
    too_many_cpus,
    too_much_memory,
    unfit_memory_maximum,
)
from rocks.network.cluster_vlans import HostVlan, claim_own_vlans, record_host_vlans
from rocks.network.interfaces import claim_frontends_vlans

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import Disk, Host, VirtualMachine


_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
VIRT_TYPES = ("para", "hvm")


@dataclass(frozen=True)
class VmChanges:
    """The parameters of `rocks set host vm`; None for parameters not given. `container` is a host's name."""

    container: str | None = None
    disks: str | None = None
    disk_sizes_gb: str | None = None
    memory_mb: str | None = None
    slice: str | None = None
    virt_type: str | None = None
    uuid: str | None = None
    cpus: int | None = None
    max_cpus: int | None = None
    max_memory_mb: int | None = None


def set_vms(database: Database, names: Sequence[str], changes: VmChanges) -> list[str]:
    """As `_set_vm`, for several machines: all are changed, or none. UserError for a change that only one can have."""
    if len(names) != 1 and (changes.disks, changes.slice, changes.uuid) != (None, None, None):
        raise UserError("must supply only one host: two machines cannot share disk, slice or uuid")
    ensure_locked(database, names)
    notes = {name: _set_vm(database, name, changes) for name in names}
    if changes.cpus is not None:
        set_column(database, names, "CPUs", changes.cpus)
    for attribute, value in (
        (MAX_CPUS_ATTRIBUTE, changes.max_cpus),
        (MAX_MEMORY_ATTRIBUTE, changes.max_memory_mb),
    ):
        if value is not None:
            set_attribute(database, "host", names, attribute, str(value))
    places = {} if changes.container is None else _local_vlan_notes(database, names)
    return [*Outcomes(notes).joined_lines, *Outcomes(places).joined_lines]


def _local_vlan_notes(database: Database, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Machines that cannot reach others on their VLAN, since the VLANs of one of their hosts are local.

    No error: the machines of a cluster may get their new host one after the other.
    """
    vms = table.load_vms(database, names)
    vlans = {vm.name: [i.vlan for i in vm.host.interfaces if i.vlan] for vm in vms}
    places = table.hosts_of_vlans(database, (vlan for found in vlans.values() for vlan in found))
    several = sorted({host for hosts in places.values() if len(hosts) > 1 for host in hosts})
    local = [
        host.name
        for host in load_hosts(database, several)
        if host.attribute("vlan_transport") == LOCAL_TRANSPORT
    ]
    notes: dict[str, tuple[str, ...]] = {}
    for vm in vms:
        own = vm.container.name if vm.container is not None else ""
        apart = [
            vlan for vlan in vlans[vm.name] if set(places[vlan]) - {own} and set(places[vlan]) & set(local)
        ]
        if own and apart:
            others = [host for host in places[apart[0]] if host != own]
            one = next(host for host in local if host in places[apart[0]])
            notes[vm.name] = (
                f"{vm.name} cannot reach the machines of VLAN {apart[0]} on {', '.join(others)}: VLANs of {one} are "
                f"local (it has vlan_transport={LOCAL_TRANSPORT}); place the whole cluster on one host: rocks "
                f"set host vm {vm.name} physnode={others[0]}, or the others on {own}",
            )
    return notes


def _set_vm(database: Database, name: str, changes: VmChanges) -> tuple[str, ...]:
    """Change a virtual machine, but for its CPUs and maxima, which are those of all machines.

    A host that is not a virtual machine becomes one by `container` or `virt_type`.
    Returns a line for each image that the new record does not describe: a machine that never ran has none; and one
    about a VLAN that a new virtual frontend shares with another cluster.
    UserError for an invalid parameter, BusyError while another command changes the machine; then nothing is changed.
    """
    if changes == VmChanges():
        raise UserError(
            "must supply physnode, disk, disksize, mem, cpus, maxmem, maxcpus, slice, virt-type or uuid: nothing is "
            "given to change"
        )
    columns = _read_columns(changes)
    target = _target(database, name, changes.container) if changes.container else None
    if target is not None:
        if target.name.lower() == name.lower():
            raise UserError(f"host {name} cannot be its own physical host; name another one")
        columns["PhysNode"] = node_ids(database, [target.name])[target.name.lower()]
    _check_holds_no_vms(database, name)
    becomes_vm = not which_are_vms(database, [name])
    if becomes_vm:
        _check_may_become_vm(database, name, target is not None or "Virt_Type" in columns)
    ensure_locked(database, [name])
    if (target, changes.slice, changes.uuid, changes.virt_type) != (None, None, None, None):
        lock_inventory(database)  # other changes are asked of a host, which may be slow
    table.ensure_vm_row(database, name)
    vm = table.load_vms(database, [name])[0]
    _check_maxima(vm, changes)
    _check_slice(database, vm, changes, target.name if target is not None else None)
    disks = _plan_disks(vm, changes)
    if target is not None or disks is not None:
        if vm.container is not None:
            check_no_doubt(vm)
        new_disks = vm.disks if disks is None else disks
        check_no_copies(vm, target or vm.container, new_disks, read_copies(database, name))
    table.update_vm(database, name, columns)
    if disks is not None:
        table.replace_disks(database, name, disks)
    if target is not None:
        record_host_vlans(database, host_vlans(database, vm, target))
    claim_own_vlans(database, [name])
    lines = image_lines(vm, target, disks) if read_leases(database, [name]) else []
    return (*_vlan_lines(database, name), *lines) if becomes_vm else tuple(lines)


def _check_may_become_vm(database: Database, name: str, is_asked: bool) -> None:
    if not is_asked:
        raise UserError(
            f"host {name} is not a virtual machine; it becomes one only when physnode= names its physical host"
        )
    check_names_are_not_held(database, [name])


def _vlan_lines(database: Database, name: str) -> list[str]:
    """That another cluster has the VLAN of a host that becomes a virtual frontend; a dump may say so, and is loaded."""
    try:
        claim_frontends_vlans(database, [name])
    except UserError as error:
        return [str(error)]
    return []


def size_warnings(database: Database, names: Sequence[str], running: Collection[str] = ()) -> list[str]:
    """As `warn_of_sizes`, of these machines, and of maxima of memory that are too low or that hosts cannot give.

    The hosts of those that run say themselves whether they have the CPUs.
    """
    vms = [vm for vm in table.load_vms(database, names) if vm.container is not None]
    placed = [Placed(vm.name, vm.host.cpus, vm.memory_mb, vm.container) for vm in vms if vm.container]
    available = _available_mb(placed)
    maxima: dict[str, tuple[str, ...]] = {
        vm.name: (line,)
        for vm in vms
        if vm.container is not None
        and (line := unfit_memory_maximum(vm, available.get(vm.container.name))) is not None
    }
    return [
        *_cpu_warnings([vm for vm in placed if vm.name not in running]),
        *_memory_warnings(placed, available),
        *Outcomes(maxima).joined_lines,
    ]


def warn_of_sizes(machines: Sequence[Placed]) -> list[str]:
    """Warnings about machines with more CPUs, or together more memory, than their hosts have."""
    return [*_cpu_warnings(machines), *_memory_warnings(machines, _available_mb(machines))]


def _cpu_warnings(machines: Sequence[Placed]) -> list[str]:
    cpus = Outcomes({vm.name: (line,) for vm in machines if (line := too_many_cpus(vm)) is not None})
    return [*cpus.joined_lines]


def _memory_warnings(machines: Sequence[Placed], available_mb: Mapping[str, int]) -> list[str]:
    of_host: dict[str, list[Placed]] = {}
    for vm in machines:
        of_host.setdefault(vm.container.name, []).append(vm)
    found = [too_much_memory(of_host[host], memory_mb) for host, memory_mb in available_mb.items()]
    return [line for line in found if line is not None]


def _available_mb(machines: Sequence[Placed]) -> dict[str, int]:
    """Physical host → its memory for machines in MB; hosts that were never asked are omitted."""
    hosts = {vm.container.name: vm.container for vm in machines}
    return {
        name: max(0, host.memory_mb - memory_reserve_mb(host))
        for name, host in hosts.items()
        if host.memory_mb is not None
    }


def _read_columns(changes: VmChanges) -> dict[str, object]:
    """Column of the machine's own row → value."""
    columns: dict[str, object] = {}
    if changes.memory_mb is not None:
        columns["Mem"] = _read_memory(changes.memory_mb)
    if changes.slice is not None:
        columns["Slice"] = read_number("slice", changes.slice, 0)
    if changes.virt_type not in (None, "None"):
        if str(changes.virt_type).lower() not in VIRT_TYPES:
            raise UserError(
                f'virt-type "{printable(str(changes.virt_type))}" must be one of {", ".join(VIRT_TYPES)}'
            )
        columns["Virt_Type"] = str(changes.virt_type).lower()
    if changes.uuid is not None:
        columns["UUID"] = _read_uuid(changes.uuid)
    return columns


def _check_maxima(vm: VirtualMachine, changes: VmChanges) -> None:
    """UserError for a maximum that is given, and is below what the machine has, or gets with it."""
    if changes.max_cpus is not None:
        check_maximum(vm, "maxcpus", changes.max_cpus, changes.cpus or vm.host.cpus)
    if changes.max_memory_mb is not None:
        memory_mb = vm.memory_mb if changes.memory_mb is None else int(changes.memory_mb)
        check_maximum(vm, "maxmem", changes.max_memory_mb, memory_mb)


def _target(database: Database, name: str, container: str) -> Host:
    """The physical host that a machine moves to. Errors as of `check_container`.

    A host that becomes a virtual machine may be on any physical host, as in the output of `rocks dump`: attributes come
    later there. It is started on a VM container only.
    """
    (target,) = load_hosts(database, [container])
    vms = table.load_vms(database, which_are_vms(database, [name]))
    is_there = any(vm.container is not None and vm.container.name == target.name for vm in vms)
    check_container(target, may_lack_kvm=is_there or not vms)
    return target


def _check_slice(database: Database, vm: VirtualMachine, changes: VmChanges, target: str | None) -> None:
    """UserError when another machine on the physical host has the requested slice."""
    container = target or (vm.container.name if vm.container is not None else None)
    if changes.slice is None or container is None:
        return
    other = add.other_with_slice(database, vm.name, container, int(changes.slice))
    if other is not None:
        raise UserError(f"slice {changes.slice} of {container} is in use by {other}; give another")


def _read_memory(text: str) -> int:
    try:
        return read_number("mem", text, LEAST_MEMORY_MB, LARGEST_MEMORY_MB)
    except UserError:
        raise UserError(
            f'"mem" parameter must be an integer from {LEAST_MEMORY_MB} to {LARGEST_MEMORY_MB} (MB), or a size such as '
            f'4G, not "{printable(text)}"'
        ) from None


def _read_uuid(text: str) -> str:
    if not _UUID.fullmatch(text):
        raise UserError(
            f'uuid "{printable(text)}" is not a UUID in lower case, as rocks dump host vm prints it'
        )
    return text


def _plan_disks(vm: VirtualMachine, changes: VmChanges) -> Sequence[Disk] | None:
    """The new disks; None for no change. Sizes are by index; 0 leaves the size of a disk unchanged.

    A disk has the size of the recorded one of its path; else that of a disk of its device which it replaces.
    """
    if changes.disks is None and changes.disk_sizes_gb is None:
        return None
    sizes = [
        read_number("disksize", text, 0, LARGEST_DISK_GB, "GB")
        for text in (changes.disk_sizes_gb or "").split()
    ]
    disks = list(vm.disks) if changes.disks is None else _with_sizes(_read_disks(changes.disks), vm.disks)
    if len(sizes) > len(disks):
        raise UserError(f"disksize names {len(sizes)} sizes, but {vm.name} has {len(disks)} disks")
    return [
        replace(disk, size_gb=sizes[i]) if i < len(sizes) and sizes[i] else disk
        for i, disk in enumerate(disks)
    ]


def _with_sizes(disks: Sequence[Disk], recorded: Sequence[Disk]) -> list[Disk]:
    paths = {disk.path for disk in disks}
    by_path = {disk.path: disk.size_gb for disk in recorded}
    replaced = {disk.device: disk.size_gb for disk in recorded if disk.path not in paths}
    return [
        replace(disk, size_gb=by_path.get(disk.path, replaced.get(disk.device, disk.size_gb)))
        for disk in disks
    ]


def _read_disks(text: str) -> list[Disk]:
    disks = [read_disk(one, DEFAULT_DISK_GB) for one in split_disks(text)]
    if not disks:
        raise UserError('disk "" is not a disk; give TYPE:PATH,DEVICE,BUS')
    paths = [disk.path for disk in disks]
    for path in paths:
        if paths.count(path) > 1:
            raise UserError(f'the disk "{printable(path)}" is given twice; two writers would corrupt it')
    return disks


def _check_holds_no_vms(database: Database, name: str) -> None:
    """UserError when the host is the container of virtual machines: it is physical."""
    held = table.names_in(database, name)
    if held:
        raise UserError(
            f"host {name} is the physical host of {', '.join(held[:3])}{', …' if len(held) > 3 else ''}, so it cannot "
            "be a virtual machine; name a virtual machine"
        )


def host_vlans(database: Database, vm: VirtualMachine, target: Host) -> list[HostVlan]:
    """The VLANs of the machine for its new container, on the networks that carry them on the old one or any host."""
    vlans = [interface.vlan for interface in vm.host.interfaces if interface.vlan]
    old = vm.container.interfaces if vm.container is not None else ()
    networks = table.networks_of_vlans(database, vlans)
    networks |= {i.vlan: i.subnet for i in old if i.is_vlan and i.vlan and i.subnet}
    return [HostVlan(target.name, vlan, networks[vlan]) for vlan in vlans if vlan in networks]
