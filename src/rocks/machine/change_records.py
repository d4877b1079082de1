"""Changes of `vm_nodes` and `vm_disks`, and adding new virtual machines; always in sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.inventory.boot_records import set_boot_action
from rocks.inventory.new_host_parameters import NewHost
from rocks.inventory.node_records import insert_hosts, node_ids
from rocks.leases import lease as leases

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import Disk
    from rocks.machine.addition_plan import NewVm
    from rocks.network.cluster_vlans import HostVlan

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
