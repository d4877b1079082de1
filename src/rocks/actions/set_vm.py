"""Change what a virtual machine is to be at its next start: container, disks, memory, slice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rocks.actions.add_vm import load_containers
from rocks.actions.vm_locks import lock_vms
from rocks.cluster.disk_specification import DEFAULT_SIZE_GB, read_disk, split_disks
from rocks.cluster.names import printable
from rocks.cluster.values import check_text, read_number
from rocks.cluster.vm_plan import LARGEST_DISK_GB, LARGEST_MEMORY_MB
from rocks.database import vm_changes
from rocks.database import vms as table
from rocks.database.nodes import node_ids
from rocks.database.vm_changes import HostVlan
from rocks.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.cluster.records import Disk, Host, VirtualMachine
    from rocks.database.connection import Database

VIRT_TYPES = ("para", "hvm")
CDROM_PATH_LONGEST = 512


@dataclass(frozen=True)
class VmChanges:
    """The words of `rocks set host vm`, unread; None is what was not said. `container` is a host's name."""

    container: str | None = None
    disks: str | None = None
    disk_sizes_gb: str | None = None
    memory_mb: str | None = None
    slice: str | None = None
    virt_type: str | None = None


def set_vm(database: Database, name: str, changes: VmChanges) -> None:
    """Change a virtual machine; a host that is none becomes one.

    UserError for a word that is wrong, BusyError while another command changes the machine; then nothing is changed.
    """
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
    target = load_containers(database, [changes.container])[0] if changes.container else None
    if target is not None:
        if target.name.lower() == name.lower():
            raise UserError(f"host {name} cannot be its own physical host; name another one")
        columns["PhysNode"] = node_ids(database, [target.name])[target.name.lower()]
    _refuse_container(database, name)
    _lock(database, name)
    vm_changes.ensure_vm_row(database, name)
    vm = table.load_vms(database, [name])[0]
    disks = _plan_disks(vm, changes)
    vm_changes.update_vm(database, name, columns)
    if disks is not None:
        vm_changes.replace_disks(database, name, disks)
    if target is not None:
        vm_changes.record_host_vlans(database, _vlans_to_carry(database, vm, target))


def set_cdrom(database: Database, name: str, path: str) -> None:
    """Put a CD image, or a device, of the container into a virtual machine; `none` takes it out.

    UserError for a path that is not absolute, StateError for a host that is no virtual machine.
    """
    if path.lower() == "none":
        path = ""
    elif not path.startswith("/") or path.endswith("/") or ".." in path.split("/"):
        raise UserError(f'You must use an absolute path for the ISO, not "{printable(path)}"')
    check_text("the path for the ISO", path, CDROM_PATH_LONGEST)
    table.load_vms(database, [name])
    _lock(database, name)
    vm_changes.update_vm(database, name, {"cdrom_path": path})


def _lock(database: Database, name: str) -> None:
    """Keep others from starting or stopping the machine meanwhile. BusyError when somebody is at it."""
    for error in lock_vms(database, [name]).values():
        raise error


def _read_memory(text: str) -> int:
    try:
        return read_number("mem", text, 1, LARGEST_MEMORY_MB)
    except UserError:
        raise UserError(
            f'"mem" parameter must be an integer from 1 to {LARGEST_MEMORY_MB} (MB), not "{printable(text)}"'
        ) from None


def _plan_disks(vm: VirtualMachine, changes: VmChanges) -> Sequence[Disk] | None:
    """The disks as they shall be; None leaves them. Sizes go by index, 0 keeps a disk's size."""
    if changes.disks is None and changes.disk_sizes_gb is None:
        return None
    sizes = [
        read_number("disksize", text, 0, LARGEST_DISK_GB) for text in (changes.disk_sizes_gb or "").split()
    ]
    disks = list(vm.disks) if changes.disks is None else _read_disks(changes.disks)
    if len(sizes) > len(disks):
        raise UserError(f"disksize names {len(sizes)} sizes, but {vm.name} has {len(disks)} disks")
    return [
        replace(disk, size_gb=sizes[i]) if i < len(sizes) and sizes[i] else disk
        for i, disk in enumerate(disks)
    ]


def _read_disks(text: str) -> list[Disk]:
    disks = [read_disk(one, DEFAULT_SIZE_GB) for one in split_disks(text)]
    if not disks:
        raise UserError('disk "" names no disk; give TYPE:PATH,DEVICE,BUS')
    paths = [disk.path for disk in disks]
    for path in paths:
        if paths.count(path) > 1:
            raise UserError(f'the disk "{printable(path)}" is given twice; two writers would destroy it')
    return disks


def _refuse_container(database: Database, name: str) -> None:
    """A host that holds virtual machines is a physical one."""
    held = table.names_in(database, name)
    if held:
        raise UserError(
            f"host {name} holds virtual machines ({', '.join(held[:3])}{', …' if len(held) > 3 else ''}), "
            "so it cannot be one; name a virtual machine"
        )


def _vlans_to_carry(database: Database, vm: VirtualMachine, target: Host) -> list[HostVlan]:
    """The new container carries the machine's VLANs on the networks on which the old one, or some host, did."""
    vlans = [interface.vlan for interface in vm.host.interfaces if interface.vlan]
    old = vm.container.interfaces if vm.container is not None else ()
    networks = table.networks_of_vlans(database, vlans)
    networks |= {i.vlan: i.subnet for i in old if i.is_vlan and i.vlan and i.subnet}
    return [HostVlan(target.name, vlan, networks[vlan]) for vlan in vlans if vlan in networks]
