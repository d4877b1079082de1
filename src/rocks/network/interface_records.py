"""Rows of `networks`: the interfaces of hosts; always in sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.database.sets import in_order
from rocks.inventory.node_records import node_ids
from rocks.network.interface_configuration_plan import Hardware
from rocks.network.interface_rules import Subnet, looks_like_mac, mac_pattern

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.database.connection import Database

_COLUMNS = frozenset(
    ("MAC", "IP", "Name", "Device", "Subnet", "Module", "VlanID", "Options", "Channel", "Disable_KVM")
)


class InterfaceRow(NamedTuple):
    """A stored interface, with its network, and the device of the bond whose adapter it is; empty fields are None."""

    id: int
    host: str
    device: str | None
    mac: str | None
    ip: str | None
    name: str | None
    subnet: Subnet | None
    bond: str | None


class NewInterface(NamedTuple):
    """An interface to be stored on the host of that name; `subnet_id` is the database's number of a network."""

    host: str
    device: str | None = None
    mac: str | None = None
    ip: str | None = None
    name: str | None = None
    subnet_id: int | None = None
    module: str | None = None
    vlan: int | None = None


class BondMember(NamedTuple):
    """An adapter, and the device, address and network of the bond that it belongs to; empty fields are None."""

    id: int
    host: str
    device: str
    bond: str
    ip: str | None
    network: str | None


def insert_interfaces(database: Database, interfaces: Sequence[NewInterface]) -> None:
    """Add the interfaces; two statements for any number of them. Their hosts must exist."""
    numbers = node_ids(database, sorted({interface.host for interface in interfaces}))
    database.insert_many(
        "INSERT INTO networks (Node, Device, MAC, IP, Name, Subnet, Module, VlanID) VALUES",
        [(numbers[interface.host.lower()], *interface[1:]) for interface in interfaces],
    )


def find_interfaces(database: Database, hosts: Sequence[str], key: str) -> list[InterfaceRow]:
    """The interfaces of the hosts whose device or MAC address, in any notation, is `key`."""
    is_mac = looks_like_mac(key)
    condition, value = ("i.MAC REGEXP %s", mac_pattern(key)) if is_mac else ("i.Device = %s", key)
    rows = database.rows(
        "SELECT i.ID, n.Name, i.Device, i.MAC, i.IP, i.Name, s.name, s.subnet, s.netmask, (SELECT MIN(b.Device) FROM"
        " networks b WHERE b.Node = i.Node AND b.Device = i.Channel AND b.Module = 'bonding') FROM networks i"
        " JOIN nodes n ON n.ID = i.Node LEFT JOIN subnets s ON s.ID = i.Subnet"
        f" WHERE {condition} AND n.Name IN %s ORDER BY i.ID",
        [value, hosts],
    )
    return [InterfaceRow(*(*row[:6], _subnet(row[6:9]), row[9])) for row in rows]


def set_column(database: Database, ids: Sequence[int], column: str, value: object) -> None:
    """Set one column of the interfaces to the same value."""
    assert column in _COLUMNS
    database.execute(f"UPDATE networks SET {column} = %s WHERE ID IN %s", [value, ids])


def read_hardware(database: Database, host: str) -> list[tuple[int, str | None, Hardware]]:
    """(ID, network, adapter) of each interface of a host that is not the entry of a VLAN, in the database's order."""
    rows = database.rows(
        "SELECT i.ID, s.name, i.Device, i.MAC, i.Module, i.Options FROM networks i JOIN nodes n ON n.ID = i.Node"
        " LEFT JOIN subnets s ON s.ID = i.Subnet"
        " WHERE n.Name = %s AND COALESCE(i.Device, '') NOT LIKE 'vlan%%' ORDER BY i.ID",
        (host,),
    )
    return [(int(row[0]), row[1], Hardware(*row[2:])) for row in rows]


def set_hardware(database: Database, changed: Mapping[int, Hardware]) -> None:
    """Set the adapters of these rows, which may exchange devices and MAC addresses."""
    database.execute("UPDATE networks SET Device = NULL, MAC = NULL WHERE ID IN %s", [list(changed)])
    for number, hardware in changed.items():
        database.execute(
            "UPDATE networks SET Device = %s, MAC = %s, Module = %s, Options = %s WHERE ID = %s",
            [*hardware, number],
        )


def set_subnet(database: Database, ids: Sequence[int], subnet_id: int | None) -> None:
    """Set or clear the network of the interfaces; one without a name gets that of its host.

    The entry of a VLAN that a host carries, a device vlanN without an address, gets none.
    """
    database.execute(
        "UPDATE networks i JOIN nodes n ON n.ID = i.Node SET i.Subnet = %s,"
        " i.Name = IF(COALESCE(i.Name, '') <> '' OR i.IP IS NULL AND COALESCE(i.Device, '') LIKE 'vlan%%',"
        " i.Name, n.Name)"
        " WHERE i.ID IN %s",
        [subnet_id, ids],
    )


def find_subnet(database: Database, name: str) -> tuple[int, Subnet] | None:
    """ID and record of a network; None when there is none of that name."""
    rows = database.rows("SELECT ID, name, subnet, netmask FROM subnets WHERE name = %s", (name,))
    # the database's comparison also finds `private` for "private " and for "prívate"
    found = [row for row in rows if str(row[1]).lower() == name.lower()]
    return (int(found[0][0]), Subnet(*(str(cell or "") for cell in found[0][1:]))) if found else None


def find_ip_owner(database: Database, ip: str) -> tuple[int, str] | None:
    """(interface's ID, host) that has the address; None when it is free."""
    return _owner(database, "i.IP = %s", ip)


def find_mac_owner(database: Database, mac: str) -> tuple[int, str] | None:
    """(interface's ID, host) that has the address, in any notation; None when it is free."""
    return _owner(database, "i.MAC REGEXP %s", mac_pattern(mac))


def used_ips(database: Database) -> list[str]:
    """All IPv4 addresses of all interfaces."""
    return [str(row[0]) for row in database.rows("SELECT IP FROM networks WHERE IP IS NOT NULL")]


def list_interfaces(database: Database, names: Sequence[str]) -> list[tuple[object, ...]]:
    """(host, network, device, MAC, IP, netmask, module, name, VLAN, options, channel) of the named hosts.

    Order: as `names`, then as in the database.
    """
    rows = database.rows(
        "SELECT n.Name, s.name, i.Device, i.MAC, i.IP, s.netmask, i.Module, i.Name, i.VlanID, i.Options, i.Channel"
        " FROM networks i JOIN nodes n ON n.ID = i.Node LEFT JOIN subnets s ON s.ID = i.Subnet"
        " WHERE n.Name IN %s ORDER BY i.ID",
        [names],
    )
    return in_order(rows, names)


def list_disabled(database: Database, names: Sequence[str]) -> list[tuple[object, ...]]:
    """(host, device, whether guests must not use it) of the interfaces of the named hosts, in their order."""
    rows = database.rows(
        "SELECT n.Name, i.Device, i.Disable_KVM <> 0 FROM networks i JOIN nodes n ON n.ID = i.Node"
        " WHERE i.Device IS NOT NULL AND n.Name IN %s ORDER BY i.ID",
        [names],
    )
    return in_order(rows, names)


def bond_members(database: Database, hosts: Sequence[str], pattern: str) -> list[BondMember]:
    """The adapters of the hosts' bonds that `remove_interfaces` removes with the pattern; adapters that it leaves."""
    pattern = _like(pattern)
    rows = database.rows(
        "SELECT m.ID, n.Name, m.Device, b.Device, b.IP, s.name FROM networks b JOIN nodes n ON n.ID = b.Node"
        " JOIN networks m ON m.Node = b.Node AND m.Channel = b.Device LEFT JOIN subnets s ON s.ID = b.Subnet"
        " WHERE b.Module = 'bonding' AND (b.Device LIKE %s OR b.MAC LIKE %s) AND m.Device NOT LIKE %s"
        " AND COALESCE(m.MAC, '') NOT LIKE %s AND n.Name IN %s ORDER BY n.ID, m.ID",
        [pattern, pattern, pattern, pattern, hosts],
    )
    return [BondMember(*row) for row in rows]


def remove_interfaces(database: Database, hosts: Sequence[str], pattern: str) -> int:
    """Remove the interfaces whose device or MAC address matches `pattern`, in which `%` matches any text.

    Returns their number.
    """
    pattern = _like(pattern)
    return database.execute(
        "DELETE i FROM networks i JOIN nodes n ON n.ID = i.Node"
        " WHERE (i.Device LIKE %s OR i.MAC LIKE %s) AND n.Name IN %s",
        [pattern, pattern, hosts],
    )


def _like(pattern: str) -> str:
    """The pattern, in which only `%` matches any text."""
    return pattern.replace("\\", "\\\\").replace("_", "\\_")


def _owner(database: Database, condition: str, value: str) -> tuple[int, str] | None:
    rows = database.rows(
        f"SELECT i.ID, n.Name FROM networks i JOIN nodes n ON n.ID = i.Node WHERE {condition} ORDER BY i.ID",
        (value,),
    )
    return (int(rows[0][0]), str(rows[0][1])) if rows else None


def _subnet(cells: tuple[object, ...]) -> Subnet | None:
    return None if cells[0] is None else Subnet(*(str(cell or "") for cell in cells))
