"""Virtual machines: `vm_nodes`, `vm_disks` and all further facts of a plan; always in sets."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rocks.core.errors import StateError
from rocks.core.names import printable
from rocks.database.sets import in_order
from rocks.inventory.attributes.records import resolve_attributes
from rocks.inventory.loaded_host_records import (
    HOST_COLUMNS,
    HOST_JOINS,
    HOST_WIDTH,
    bare_hosts,
    host_of_row,
    load_interfaces,
    mounts_of,
)
from rocks.inventory.records import Disk, Host, VirtualMachine

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rocks.database.connection import Database

_DOUBTED_HOST = (
    "(SELECT MIN(c.Name) FROM vm_disk_copies d JOIN nodes c ON c.ID = d.Host"
    " WHERE d.Vm_Node = v.ID AND d.May_Be_Current)"
)
"""The host whose copies may be the current disks of the machine `v` of `vm_nodes`; NULL for most machines."""


def load_vms(database: Database, names: Sequence[str]) -> list[VirtualMachine]:
    """The named virtual machines, complete, in the order of the names; seven statements for any number of them.

    StateError `host X is not a virtual host` for another name, and for one that is removed meanwhile.
    """
    rows = database.rows(
        f"SELECT {HOST_COLUMNS}, v.ID, p.Name, {_DOUBTED_HOST},"
        " v.Mem, v.Slice, v.Virt_Type, v.cdrom_path, v.UUID, v.Restoring FROM vm_nodes v"
        f" JOIN nodes n ON n.ID = v.Node LEFT JOIN nodes p ON p.ID = v.PhysNode{HOST_JOINS}"
        " WHERE n.Name IN %s",
        [names],
    )
    check_all_are_vms(names, [str(row[0]) for row in rows])
    machines = {str(row[0]): row[HOST_WIDTH:] for row in rows}
    containers = {str(container) for _, container, *_ in machines.values() if container is not None}
    hosts = {host.name: host for host in bare_hosts(database, sorted(containers))}
    everyone = [*machines, *hosts]
    interfaces = load_interfaces(database, everyone)
    attributes = {
        name: {key: found.value for key, found in resolved.items()}
        for name, resolved in resolve_attributes(database, everyone).items()
    }
    disks = _disks(database, [int(number) for number, *_ in machines.values()])
    gone = next((name for name in [*machines, *sorted(containers)] if name not in attributes), None)
    if gone is not None:  # each statement sees what others have committed
        raise StateError(f"host {gone} was removed meanwhile; repeat the command")

    def whole(host: Host) -> Host:
        return replace(host, interfaces=interfaces[host.name], attributes=attributes[host.name])

    mounts = mounts_of(database, sorted(hosts))
    hosts = {name: replace(whole(host), mounts=mounts.get(name, ())) for name, host in hosts.items()}
    return [
        _machine(whole(host_of_row(row[:HOST_WIDTH])), hosts, row[HOST_WIDTH:], disks)
        for row in in_order(rows, names)
    ]


def _machine(
    host: Host, containers: Mapping[str, Host], cells: Sequence[Any], disks: Mapping[int, tuple[Disk, ...]]
) -> VirtualMachine:
    """The machine of what the statement of `load_vms` selects after `HOST_COLUMNS`."""
    number, container, doubted_host, memory_mb, slice_, virt_type, cdrom_path, uuid, restoring = cells
    return VirtualMachine(
        host=host,
        container=None if container is None else containers[str(container)],
        memory_mb=int(memory_mb),
        slice=int(slice_),
        virt_type=virt_type,
        cdrom_path=cdrom_path or "",
        disks=disks[int(number)],
        uuid=str(uuid),
        doubted_host=doubted_host,
        restoring=restoring,
    )


def check_all_are_vms(names: Sequence[str], machines: Iterable[str]) -> None:
    """StateError for the first name that is not a virtual machine."""
    known = {name.lower() for name in machines}
    for name in names:
        if name.lower() not in known:
            raise StateError(f"host {printable(name)} is not a virtual host; see rocks list host vm")


def hosts_of_vlans(database: Database, vlans: Iterable[int], without: str = "") -> dict[int, list[str]]:
    """VLAN id → all hosts on which virtual machines with an interface on it are placed, or arrive while they run.

    The hosts of its machines other than `without`, if one is named.
    """
    ids = sorted(set(vlans))
    found: dict[int, list[str]] = {vlan: [] for vlan in ids}
    if ids:
        chosen = "WHERE i.VlanID IN %s AND i.Node NOT IN (SELECT ID FROM nodes WHERE Name = %s)"
        rows = database.rows(
            "SELECT i.VlanID, p.Name, p.ID FROM networks i JOIN vm_nodes v ON v.Node = i.Node"
            f" JOIN nodes p ON p.ID = v.PhysNode {chosen}"
            " UNION SELECT i.VlanID, p.Name, p.ID FROM networks i JOIN nodes n ON n.ID = i.Node"
            " JOIN vm_leases l ON l.Name = n.Name AND l.State = 'moving' JOIN nodes p ON p.Name = l.Target"
            f" {chosen} ORDER BY 3",
            [ids, without] * 2,
        )
        for vlan, name, _ in rows:
            found[int(vlan)].append(str(name))
    return found


def networks_of_vlans(database: Database, vlans: Iterable[int]) -> dict[int, str]:
    """VLAN id → network whose devices carry it on hosts of the site."""
    ids = sorted(set(vlans))
    rows = database.rows(
        "SELECT c.VlanID, s.name FROM networks c JOIN subnets s ON s.ID = c.Subnet"
        " WHERE c.VlanID IN %s AND c.Device = CONCAT('vlan', c.VlanID) ORDER BY c.ID DESC",
        [ids],
    )
    return {int(vlan): str(network) for vlan, network in rows}


def names_in(database: Database, container: str) -> list[str]:
    """Virtual machines that are placed on the container, in the database's order."""
    rows = database.rows(
        "SELECT n.Name FROM vm_nodes v JOIN nodes n ON n.ID = v.Node JOIN nodes p ON p.ID = v.PhysNode"
        " WHERE p.Name = %s ORDER BY n.ID",
        (container,),
    )
    return [str(row[0]) for row in rows]


def _disks(database: Database, vm_ids: Sequence[int]) -> Mapping[int, tuple[Disk, ...]]:
    rows = database.rows(
        "SELECT d.Vm_Node, d.VBD_Type, d.Prefix, d.Name, d.Device, d.Mode, d.Size, s.vm_disk_id IS NOT NULL"
        " FROM vm_disks d LEFT JOIN img_nas_server s ON s.vm_disk_id = d.ID AND s.nas_name <> ''"
        " WHERE d.Vm_Node IN %s ORDER BY d.ID",
        [vm_ids],
    )
    found: defaultdict[int, list[Disk]] = defaultdict(list)
    for row in rows:
        found[int(row[0])].append(_disk(row[1:]))
    return {vm: tuple(found[vm]) for vm in vm_ids}


def _disk(row: Sequence[Any]) -> Disk:
    kind, prefix, name, device, bus, size, is_mapped = row
    return Disk(
        kind or "", prefix or "", name or "", device or "", bus or "", int(size or 0), bool(is_mapped)
    )


def recorded_memory_mb(database: Database, hosts: Sequence[str]) -> dict[str, int]:
    """Host in lower case → the memory of its recorded machines, in MB; hosts without machines are omitted."""
    rows = database.rows(
        "SELECT p.Name, SUM(v.Mem) FROM vm_nodes v JOIN nodes p ON p.ID = v.PhysNode"
        " WHERE p.Name IN %s GROUP BY p.Name",
        [hosts],
    )
    return {str(host).lower(): int(memory) for host, memory in rows}
