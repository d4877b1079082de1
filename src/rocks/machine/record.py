"""Rows of virtual machines: `vm_nodes`, `vm_disks`, copies of disks on hosts, owners of images; always in sets."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from rocks.core.errors import StateError
from rocks.core.names import printable
from rocks.database.sets import in_order
from rocks.inventory.attributes.records import resolve_attributes
from rocks.inventory.boot_records import set_boot_action
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
from rocks.leases import lease as leases

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.machine.add import NewVm
    from rocks.network.cluster_vlans import HostVlan


# Virtual machines: `vm_nodes`, `vm_disks` and all further facts of a plan; always in sets.

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


# Changes of `vm_nodes` and `vm_disks`, and adding new virtual machines; always in sets.

VIRT_TYPE = "hvm"
_NODE = "(SELECT ID FROM nodes WHERE Name = %s)"


def insert_vms(
    database: Database,
    new: Sequence[NewVm],
    subnet_ids: Mapping[str, int],
    host_vlans: Sequence[HostVlan] = (),
) -> None:
    """Insert whole virtual machines: node, attribute `os`, interfaces, boot row, `vm_nodes`, `vm_disks`.

    `subnet_ids` maps the name of a network to its ID; `host_vlans` are VLANs that no host carries yet. The number of
    statements is constant; none is committed.
    """
    from rocks.inventory.hosts import insert_hosts, node_ids
    from rocks.inventory.new_host_parameters import NewHost  # late: only additions need them

    insert_hosts(
        database,
        [
            NewHost(
                vm.name,
                vm.membership.id,
                vm.cpus,
                vm.rack,
                vm.rank,
                "linux",
                vm.run_action,
                vm.install_action,
            )
            for vm in new
        ],
    )
    # with a sub-select in each row, MariaDB 10.11 takes a time quadratic in the number of rows
    ids = node_ids(database, [*(vm.name for vm in new), *dict.fromkeys(vm.container for vm in new)])
    carriers = (
        (ids[host.lower()], f"vlan{vlan}", None, None, None, subnet_ids[network], vlan)
        for host, vlan, network in host_vlans
    )
    database.insert_many(
        "INSERT INTO networks (Node, Device, MAC, IP, Name, Subnet, VlanID) VALUES",
        [*_interface_rows(new, ids, subnet_ids), *carriers],
    )
    set_boot_action(database, [vm.name for vm in new], "install")
    database.insert_many(
        "INSERT INTO vm_nodes (PhysNode, Node, Mem, Slice, Virt_Type, UUID) VALUES",
        [
            (ids[vm.container.lower()], ids[vm.name.lower()], vm.memory_mb, vm.slice, VIRT_TYPE, new_uuid())
            for vm in new
        ],
    )
    _insert_disks(database, [(ids[vm.name.lower()], disk) for vm in new for disk in vm.disks])


def _insert_disks(database: Database, disks: Sequence[tuple[int, Disk]]) -> None:
    """Add (ID of the node, disk)."""
    if disks:
        row = "((SELECT ID FROM vm_nodes WHERE Node = %s), %s, %s, %s, %s, %s, %s)"
        database.execute(
            "INSERT INTO vm_disks (Vm_Node, VBD_Type, Prefix, Name, Device, Mode, Size) VALUES"
            f" {', '.join([row] * len(disks))}",
            [
                cell
                for node, disk in disks
                for cell in (node, disk.type, disk.prefix, disk.name, disk.device, disk.bus, disk.size_gb)
            ],
        )


def _interface_rows(
    new: Sequence[NewVm], ids: Mapping[str, int], subnet_ids: Mapping[str, int]
) -> Iterator[tuple[object, ...]]:
    for vm in new:
        for number, interface in enumerate(vm.interfaces):
            subnet = subnet_ids[interface.subnet.name] if interface.subnet else None
            node = ids[vm.name.lower()]
            yield node, f"eth{number}", interface.mac, interface.ip, vm.name, subnet, interface.vlan


def insert_default_route(database: Database, host: str, gateway: str) -> None:
    """Set the default route of the host."""
    database.execute(
        "INSERT INTO node_routes (Node, Network, Netmask, Gateway) VALUES"
        f" ({_NODE}, '0.0.0.0', '0.0.0.0', %s)",
        (host, gateway),
    )


def replace_disks(database: Database, name: str, disks: Sequence[Disk]) -> None:
    """Replace the disks of a virtual machine, the first by the first, and so on.

    Existing rows get the new values, so that references from other tables to a machine's first, second … disk stay
    valid; surplus rows are deleted.
    """
    rows = database.rows(
        f"SELECT v.ID, d.ID FROM vm_nodes v LEFT JOIN vm_disks d ON d.Vm_Node = v.ID WHERE v.Node = {_NODE}"
        " ORDER BY d.ID",
        [name],
    )
    ids = [row[1] for row in rows if row[1] is not None]
    gone, new = ids[len(disks) :], [None] * (len(disks) - len(ids))
    database.execute("DELETE FROM vm_disks WHERE ID IN %s", [gone])
    columns = ("VBD_Type", "Prefix", "Name", "Device", "Mode", "Size")
    database.insert_many(
        f"INSERT INTO vm_disks (ID, Vm_Node, {', '.join(columns)}) VALUES",
        [
            (disk_id, rows[0][0], disk.type, disk.prefix, disk.name, disk.device, disk.bus, disk.size_gb)
            for disk_id, disk in zip([*ids[: len(disks)], *new], disks, strict=True)
        ],
        f"ON DUPLICATE KEY UPDATE {', '.join(f'{column} = VALUES({column})' for column in columns)}",
    )


def ensure_vm_row(database: Database, name: str) -> None:
    """Make a node a virtual machine, with the table's defaults; a virtual machine stays as it is."""
    database.execute(
        "INSERT INTO vm_nodes (Node, PhysNode, Virt_Type, UUID) SELECT ID, NULL, 'hvm', %s FROM nodes WHERE Name = %s"
        " AND ID NOT IN (SELECT Node FROM vm_nodes)",
        [new_uuid(), name],
    )


def update_vm(database: Database, name: str, columns: Mapping[str, object]) -> None:
    """Set columns of `vm_nodes` of one virtual machine: PhysNode by id, and others by their values.

    The host that it leaves is recorded: it keeps the logs of the machine's console.
    """
    assert set(columns) <= {"PhysNode", "Mem", "Slice", "Virt_Type", "cdrom_path", "UUID", "Restoring"}
    if "PhysNode" in columns:
        database.execute(
            "INSERT IGNORE INTO vm_former_hosts (Vm_Node, Host) SELECT ID, PhysNode FROM vm_nodes"
            f" WHERE Node = {_NODE} AND PhysNode IS NOT NULL AND NOT PhysNode <=> %s",
            [name, columns["PhysNode"]],
        )
    if columns:
        settings = ", ".join(f"{column} = %s" for column in columns)
        database.execute(f"UPDATE vm_nodes SET {settings} WHERE Node = {_NODE}", [*columns.values(), name])


def new_uuid() -> str:
    """A random UUID: guests see theirs, and one made of a time would contain the server's MAC address."""
    import uuid  # late: it brings `platform`, and a start makes none

    return str(uuid.uuid4())


def delete_vms(database: Database, names: Sequence[str]) -> None:
    """Delete the rows of `vm_disks` and `vm_nodes`; the nodes stay, and the leases without their reasons."""
    ours = "SELECT v.ID FROM vm_nodes v JOIN nodes n ON n.ID = v.Node WHERE n.Name IN %s"
    database.execute(f"DELETE FROM vm_disks WHERE Vm_Node IN ({ours})", [names])
    database.execute("DELETE v FROM vm_nodes v JOIN nodes n ON n.ID = v.Node WHERE n.Name IN %s", [names])
    leases.forget_reasons(database, names)


# Rows of `vm_disk_copies`: files on hosts that bear a machine's UUID, but are not its disks.

_OF_MACHINE = "(SELECT v.ID FROM vm_nodes v JOIN nodes n ON n.ID = v.Node WHERE n.Name = %s)"
_HOST = "(SELECT ID FROM nodes WHERE Name = %s)"


class DiskCopy(NamedTuple):
    """A file on a host."""

    host: str
    path: str


def read_copies(database: Database, machine: str) -> list[DiskCopy]:
    """The copies of the machine's disks, by host and path."""
    rows = database.rows(
        "SELECT h.Name, c.Path FROM vm_disk_copies c JOIN nodes h ON h.ID = c.Host"
        f" WHERE c.Vm_Node = {_OF_MACHINE} ORDER BY h.Name, c.Path",
        [machine],
    )
    return [DiskCopy(str(host), str(path)) for host, path in rows]


def copies_of_all(database: Database, machines: Sequence[str]) -> dict[str, list[DiskCopy]]:
    """Machine → the copies of its disks; machines without copies are left out."""
    rows = database.rows(
        "SELECT n.Name, h.Name, c.Path FROM vm_disk_copies c JOIN nodes h ON h.ID = c.Host"
        " JOIN vm_nodes v ON v.ID = c.Vm_Node JOIN nodes n ON n.ID = v.Node"
        " WHERE n.Name IN %s ORDER BY n.Name, h.Name, c.Path",
        [machines],
    )
    found: dict[str, list[DiskCopy]] = {}
    for machine, host, path in rows:
        found.setdefault(str(machine), []).append(DiskCopy(str(host), str(path)))
    return found


def put_copies(database: Database, machine: str, copies: Sequence[DiskCopy]) -> None:
    """Record them; one that is recorded stays."""
    if copies:
        row = f"({_OF_MACHINE}, {_HOST}, %s)"
        database.execute(
            f"INSERT IGNORE INTO vm_disk_copies (Vm_Node, Host, Path) VALUES {', '.join([row] * len(copies))}",
            [cell for copy in copies for cell in (machine, *copy)],
        )


class Doubt(NamedTuple):
    """A machine, its host, and the host whose copies may be its current disks."""

    machine: str
    host: str | None
    doubted_host: str


def doubts(database: Database) -> list[Doubt]:
    """The machines whose current disks may be on another host, by name."""
    rows = database.rows(
        "SELECT DISTINCT n.Name, p.Name, c.Name FROM vm_disk_copies d JOIN nodes c ON c.ID = d.Host"
        " JOIN vm_nodes v ON v.ID = d.Vm_Node JOIN nodes n ON n.ID = v.Node LEFT JOIN nodes p ON p.ID = v.PhysNode"
        " WHERE d.May_Be_Current ORDER BY n.Name"
    )
    return [Doubt(str(name), host, str(doubted)) for name, host, doubted in rows]


def doubt_copies(database: Database, machine: str, copies: Sequence[DiskCopy]) -> None:
    """Record that these copies, which are all of one host, and the others there may be the current disks."""
    put_copies(database, machine, copies)
    for host in {copy.host for copy in copies}:
        database.execute(
            f"UPDATE vm_disk_copies SET May_Be_Current = TRUE WHERE Vm_Node = {_OF_MACHINE} AND Host = {_HOST}",
            [machine, host],
        )


def end_doubt(database: Database, machine: str) -> None:
    """The copies of the machine are copies: its disks are the current ones."""
    database.execute(
        f"UPDATE vm_disk_copies SET May_Be_Current = FALSE WHERE Vm_Node = {_OF_MACHINE}", [machine]
    )


def delete_copies(database: Database, machine: str, copies: Sequence[DiskCopy]) -> None:
    """Delete the rows of copies that were removed, or are the disks now."""
    for host in dict.fromkeys(copy.host for copy in copies):
        paths = [copy.path for copy in copies if copy.host == host]
        database.execute(
            f"DELETE FROM vm_disk_copies WHERE Vm_Node = {_OF_MACHINE} AND Host = {_HOST} AND Path IN %s",
            [machine, host, paths],
        )


def forget_copy(database: Database, host: str, path: str) -> None:
    """The file is removed, whichever machine it belonged to."""
    database.execute(f"DELETE FROM vm_disk_copies WHERE Host = {_HOST} AND Path = %s", [host, path])


# Virtual machines by the UUIDs that disk images bear, and by the places of their disks.


def names_of_uuids(database: Database, uuids: Collection[str]) -> dict[str, str]:
    """UUID → virtual machine; UUIDs of removed machines are omitted."""
    rows = database.rows(
        "SELECT v.UUID, n.Name FROM vm_nodes v JOIN nodes n ON n.ID = v.Node WHERE v.UUID IN %s",
        [sorted(uuids)],
    )
    return {str(uuid): str(name) for uuid, name in rows}


def machine_with_disk(database: Database, host: str, path: str, besides: str = "") -> str | None:
    """A virtual machine, `besides` one, that has this path of the host as a disk or whose lease covers it, or None."""
    folder, _, name = path.rpartition("/")
    rows = database.rows(
        "SELECT n.Name FROM vm_disks d JOIN vm_nodes v ON v.ID = d.Vm_Node JOIN nodes n ON n.ID = v.Node"
        " JOIN nodes p ON p.ID = v.PhysNode WHERE n.Name <> %s AND p.Name = %s AND (d.Name = %s OR"
        " (d.Name = %s AND TRIM(TRAILING '/' FROM d.Prefix) = %s))"
        " UNION SELECT Name FROM vm_lease_disks WHERE Name <> %s AND Host = %s AND Path = %s",
        (besides, host, path, name, folder, besides, host, path),
    )
    return str(rows[0][0]) if rows else None


def moments_of_disks(database: Database, machines: Sequence[VirtualMachine]) -> dict[tuple[str, str], int]:
    """(machine, path) → since when it has this disk, in seconds since 1970; without those of several machines.

    One statement.
    """
    names = {
        name for vm in machines for disk in vm.disks for name in (disk.path, disk.path.rpartition("/")[2])
    }
    rows = database.rows(
        "SELECT n.Name, IFNULL(p.Name, ''), IFNULL(d.Prefix, ''), d.Name, UNIX_TIMESTAMP(d.Recorded) FROM vm_disks d"
        " JOIN vm_nodes v ON v.ID = d.Vm_Node JOIN nodes n ON n.ID = v.Node LEFT JOIN nodes p ON p.ID = v.PhysNode"
        " WHERE d.Name IN %s",
        [sorted(names)],
    )
    found: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for machine, host, prefix, name, moment in rows:
        path = f"{prefix.rstrip('/')}/{name}" if prefix else name
        found.setdefault((host, path), []).append((str(machine), int(moment)))
    return {(one[0][0], path): one[0][1] for (_, path), one in found.items() if len(one) == 1}


def shared_disk_note(database: Database, vm: VirtualMachine, disk: Disk) -> tuple[str, ...]:
    """That another machine has the disk, by the records; a line, or none."""
    container = vm.container
    if container is None or disk.is_mapped:
        return ()
    other = machine_with_disk(database, container.name, disk.path, besides=vm.name)
    if other is None:
        return ()
    return (f"{disk.path} of {container.name} is a disk of {other}: {vm.name} cannot start with it",)


def machines_with_devices(database: Database, devices: Collection[str]) -> dict[str, list[str]]:
    """Name of a device of the device mapper → the virtual machines that have it as a disk; one statement."""
    chosen = sorted(devices)
    paths = [f"/dev/mapper/{device}" for device in chosen]
    rows = database.rows(
        "SELECT SUBSTRING_INDEX(d.Name, '/', -1), n.Name FROM vm_disks d JOIN vm_nodes v ON v.ID = d.Vm_Node"
        " JOIN nodes n ON n.ID = v.Node"
        " WHERE (d.Name IN %s AND TRIM(TRAILING '/' FROM d.Prefix) = '/dev/mapper')"
        " OR d.Name IN %s ORDER BY n.ID",
        [chosen, paths],
    )
    found: dict[str, list[str]] = {}
    for device, name in rows:
        found.setdefault(str(device), []).append(str(name))
    return found
