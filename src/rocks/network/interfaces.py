"""Interfaces of hosts: the rows of `networks`, and adding, changing, removing and bonding them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError
from rocks.core.names import (
    check_device,
    check_interface_name,
    check_plain_name,
    first_few,
    misread,
    printable,
)
from rocks.core.values import check_text, is_null
from rocks.database.sets import in_order
from rocks.inventory.cluster_records import members, on_vlans, own_members, shared_machines
from rocks.inventory.host_records import lock_inventory
from rocks.inventory.hosts import check_interface_name_unused, node_ids
from rocks.inventory.loaded_host_records import which_are_vms
from rocks.inventory.records import PRIVATE_NETWORK, Interface
from rocks.leases.fences import check_addition
from rocks.network.cluster_vlans import claim_own_vlans, move_vlan, other_owner_of_vlan
from rocks.network.host_network_plan import BONDING, bond_options
from rocks.network.interface_rules import (
    Configuration,
    Hardware,
    Row,
    Subnet,
    address_in_use,
    check_ip,
    check_ip_in,
    check_mac,
    check_mac_selector,
    looks_like_mac,
    mac_pattern,
    plan_configuration,
    read_vlan,
)
from rocks.network.limits import OPTIONS_LONGEST
from rocks.network.network_rules import unknown_network
from rocks.network.networks import network_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.cluster_records import Cluster
    from rocks.network.interface_rules import Adapter


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


def write_subnet(database: Database, ids: Sequence[int], subnet_id: int | None) -> None:
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
    """The adapters of the hosts' bonds that `delete_interfaces` removes with the pattern; adapters that it leaves."""
    pattern = _like(pattern)
    rows = database.rows(
        "SELECT m.ID, n.Name, m.Device, b.Device, b.IP, s.name FROM networks b JOIN nodes n ON n.ID = b.Node"
        " JOIN networks m ON m.Node = b.Node AND m.Channel = b.Device LEFT JOIN subnets s ON s.ID = b.Subnet"
        " WHERE b.Module = 'bonding' AND (b.Device LIKE %s OR b.MAC LIKE %s) AND m.Device NOT LIKE %s"
        " AND COALESCE(m.MAC, '') NOT LIKE %s AND n.Name IN %s ORDER BY n.ID, m.ID",
        [pattern, pattern, pattern, pattern, hosts],
    )
    return [BondMember(*row) for row in rows]


def delete_interfaces(database: Database, hosts: Sequence[str], pattern: str) -> int:
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


# Add, change and remove interfaces of hosts in the database; the value `NULL`, in any case, clears a column.


class InterfaceParameters(NamedTuple):
    """The parameters of a new interface: `iface` is a device or a MAC address; None for parameters not given."""

    iface: str
    ip: str | None = None
    mac: str | None = None
    module: str | None = None
    name: str | None = None
    subnet: str | None = None
    vlan: str | None = None


def add_interface(database: Database, host: str, parameters: InterfaceParameters) -> None:
    """Add the interface that the parameters describe. UserError, and no change, for an invalid parameter.

    Errors as of `set_vlan`, too.
    """
    parameters = InterfaceParameters(
        parameters.iface, *(None if value is None or is_null(value) else value for value in parameters[1:])
    )
    device, mac = _device_and_mac(parameters)
    lock_inventory(database)
    if find_interfaces(database, [host], parameters.iface):
        raise UserError(
            f'interface "{printable(parameters.iface)}" exists: rocks list host interface {host} shows it'
        )
    if mac is not None:
        check_mac_unused(database, mac)
    if parameters.module is not None:
        check_plain_name("module", parameters.module)
    if parameters.name is not None:
        _check_name(database, parameters.name, host)
    vlan = None if parameters.vlan is None else read_vlan(parameters.vlan)
    subnet_id, subnet = (
        (None, None) if parameters.subnet is None else existing_subnet(database, parameters.subnet)
    )
    if parameters.ip is not None:
        check_usable_ip(database, parameters.ip, subnet)
    _check_none_is_unknown(database, [host])
    name = parameters.name or (host if subnet is not None else None)
    row = NewInterface(host, device, mac, parameters.ip, name, subnet_id, parameters.module, vlan)
    insert_interfaces(database, [row])
    if vlan:
        claim_frontends_vlan(database, [host], vlan)


def check_usable_ip(database: Database, ip: str, subnet: Subnet | None, own_id: int | None = None) -> None:
    """UserError unless the address is valid, inside the network and unused by interfaces other than `own_id`."""
    check_ip(ip)
    if subnet is not None:
        check_ip_in(ip, subnet)
    owner = find_ip_owner(database, ip)
    if owner is not None and owner[0] != own_id:
        raise address_in_use("ip", ip, owner[1])


def check_mac_unused(database: Database, mac: str, own_id: int | None = None) -> None:
    """UserError when an interface other than `own_id` has the address."""
    owner = find_mac_owner(database, mac)
    if owner is not None and owner[0] != own_id:
        raise address_in_use("mac", mac, owner[1])


def _check_none_is_unknown(database: Database, hosts: Sequence[str]) -> None:
    """StateError as of `check_addition` when virtual machines among the hosts could get what another one has."""
    if which_are_vms(database, hosts):
        check_addition(database, ())


def existing_subnet(database: Database, name: str) -> tuple[int, Subnet]:
    """The ID and the addresses of a network; UserError when no network has that name."""
    found = find_subnet(database, name)
    if found is None:
        raise unknown_network(name, network_names(database))
    return found


def _device_and_mac(parameters: InterfaceParameters) -> tuple[str | None, str | None]:
    if not looks_like_mac(parameters.iface):
        check_device(parameters.iface)
        if parameters.mac is not None:
            check_mac(parameters.mac)
        return parameters.iface, parameters.mac
    check_mac(parameters.iface)
    if parameters.mac is not None and parameters.mac.lower() != parameters.iface.lower():
        raise UserError(
            f'the interface is named by the mac address {parameters.iface}, but mac="{printable(parameters.mac)}" '
            "differs; give one of them"
        )
    return None, parameters.iface


def set_ip(database: Database, host: str, iface: str, ip: str) -> None:
    """Set the IPv4 address; errors as of `add_interface`, and for an adapter of a bond, which has the address."""
    lock_inventory(database)
    row = _one(database, host, iface)
    if row.bond and not is_null(ip):
        instead = f"rocks set host interface ip {host} {row.bond} {printable(ip)}"
        raise UserError(f"{printable(iface)} is an adapter of {row.bond}, which has their address: {instead}")
    if not is_null(ip):
        check_usable_ip(database, ip, row.subnet, row.id)
        _check_none_is_unknown(database, [host])
    set_column(database, [row.id], "IP", None if is_null(ip) else ip)


def set_mac(database: Database, host: str, iface: str, mac: str) -> None:
    """Set the MAC address; UserError when another interface has it, or no interface of a machine can have it."""
    lock_inventory(database)
    row = _one(database, host, iface)
    if is_null(mac):
        _check_key_remains(row, row.device, "MAC address")
    else:
        check_mac(mac)
        check_mac_unused(database, mac, row.id)
    set_column(database, [row.id], "MAC", None if is_null(mac) else mac)


def set_device(database: Database, host: str, mac: str, device: str) -> None:
    """Set the device of the interface with that MAC address."""
    row = _one(database, host, mac)
    if is_null(device):
        _check_key_remains(row, row.mac, "device")
    else:
        check_device(device)
        if any(other.id != row.id for other in find_interfaces(database, [host], device)):
            raise UserError(
                f'interface "{printable(device)}" exists: rocks list host interface {host} shows it'
            )
    set_column(database, [row.id], "Device", None if is_null(device) else device)


def set_name(database: Database, host: str, iface: str, name: str) -> None:
    """Set the name of the interface, not that of another host; a cleared name becomes that of the host."""
    lock_inventory(database)
    row = _one(database, host, iface)
    if not is_null(name):
        _check_name(database, name, row.host)
    set_column(database, [row.id], "Name", row.host if is_null(name) else name)


def _check_name(database: Database, name: str, host: str) -> None:
    check_interface_name(name)
    if reason := misread(name, ["the resolver"]):
        raise UserError(f'interface name "{printable(name)}" is not valid: {reason}')
    check_interface_name_unused(database, name, host)


def set_subnet(database: Database, hosts: Sequence[str], iface: str, subnet: str) -> None:
    """Set the network of the interfaces; it must contain their addresses.

    A missing name becomes that of the host, but for the entry of a VLAN that a host carries, which has none. UserError
    for a host that becomes the frontend of a virtual cluster, when another cluster has its VLAN; and for a virtual
    frontend that would leave computes on its VLAN.
    """
    rows = find_rows(database, hosts, iface)
    lock_inventory(database)
    clusters = own_members(database, hosts)
    if is_null(subnet):
        set_column(database, [row.id for row in rows], "Subnet", None)
        check_computes_are_not_left(database, clusters)
        return
    subnet_id, network = existing_subnet(database, subnet)
    for row in rows:
        if row.ip:
            check_ip_in(row.ip, network)
    write_subnet(database, [row.id for row in rows], subnet_id)
    claim_frontends_vlans(database, hosts)
    check_computes_are_not_left(database, clusters)


def set_vlan(database: Database, hosts: Sequence[str], iface: str, vlan: str) -> None:
    """Set the VLAN; 0 clears it.

    UserError for virtual frontends when another cluster has it, or when they would leave computes on the present one.
    StateError for virtual machines when one that the database does not know may be on it.
    """
    number = read_vlan(vlan)
    lock_inventory(database)
    if number:
        _check_none_is_unknown(database, hosts)
    clusters = own_members(database, hosts)
    set_column(database, [row.id for row in find_rows(database, hosts, iface)], "VlanID", number)
    claim_frontends_vlan(database, hosts, number)
    check_computes_are_not_left(database, clusters)


def check_computes_are_not_left(
    database: Database, before: Mapping[str, Cluster], *, may_come_along: bool = True
) -> None:
    """UserError when one of these clusters, as they were, still has computes on a VLAN that its frontend has left.

    `may_come_along`: what changes is the VLAN, and the computes may get the same one.
    """
    after = members(database, list(before))
    for frontend, cluster in before.items():
        present = after.get(frontend)
        vlans = set(cluster.vlans) - set(present.vlans if present is not None else ())
        others = [name for name in cluster.clients if present is None or name not in present.names]
        left = on_vlans(database, others, vlans) if others and vlans else []
        if left:
            along = f", or with it (rocks set host interface vlan {frontend} COMPUTES IFACE VLAN)"
            raise UserError(
                f"{frontend} is the frontend of a virtual cluster, and {first_few(left)} on its VLAN "
                f"{', '.join(map(str, sorted(vlans)))} would be of no cluster: give them another VLAN first"
                f"{along if may_come_along else ' (rocks set host interface vlan COMPUTES IFACE VLAN)'}; rocks remove "
                f"cluster {frontend} removes all"
            )


def claim_frontends_vlan(database: Database, hosts: Sequence[str], vlan: int | None) -> None:
    """Give the VLAN to the cluster of a virtual frontend among the hosts. UserError when another cluster is on it."""
    claim_own_vlans(database, hosts)
    while vlan and (other := other_owner_of_vlan(database, vlan, hosts)) is not None:
        frontend, owner, is_used = other
        if is_used:
            raise UserError(
                f"VLAN {vlan} belongs to the virtual cluster {owner}, and {frontend} is the frontend of "
                "another cluster: choose another VLAN; rocks list host interface lists those in use, and a cluster "
                "that has left one has it until its machines have stopped"
            )
        move_vlan(database, vlan, frontend)


def claim_frontends_vlans(database: Database, hosts: Sequence[str]) -> None:
    """As `claim_frontends_vlan`, of all VLANs of virtual clusters whose frontends are among the hosts."""
    frontends = members(database, hosts)
    for frontend, cluster in frontends.items():
        others = [host for host in hosts if host not in frontends]
        for vlan in cluster.vlans:
            claim_frontends_vlan(database, [frontend, *others], vlan)


def shared_lines(database: Database, hosts: Sequence[str], vlan: str) -> list[str]:
    """A line for each of these machines that is on that VLAN of another cluster than its own; no error, as in dumps."""
    return [
        f"{one.name} of the cluster {one.cluster} is now also on VLAN {one.vlan} of the cluster {one.other}: "
        f"rocks list host interface {one.name}"
        for one in shared_machines(database, hosts)
        if one.vlan == read_vlan(vlan)
    ]


def set_module(database: Database, hosts: Sequence[str], iface: str, module: str) -> None:
    """Set the driver of the interface."""
    if not is_null(module):
        check_plain_name("module", module)
    _set_text(database, hosts, iface, "Module", module)


def set_channel(database: Database, hosts: Sequence[str], iface: str, channel: str) -> None:
    """Set the channel of the interface, such as the name of a bond."""
    if not is_null(channel):
        check_plain_name("channel", channel)
    _set_text(database, hosts, iface, "Channel", channel)


def set_options(database: Database, hosts: Sequence[str], iface: str, options: str) -> None:
    """Set the options of the interface's driver: a text of one line."""
    check_text("options", options, OPTIONS_LONGEST)
    _set_text(database, hosts, iface, "Options", options)


def set_disabled(database: Database, hosts: Sequence[str], iface: str, disabled: bool) -> None:
    """Set whether a virtual machine's interface is left out of its domain."""
    set_column(database, [row.id for row in find_rows(database, hosts, iface)], "Disable_KVM", disabled)


def find_rows(database: Database, hosts: Sequence[str], iface: str) -> list[InterfaceRow]:
    """The interface of that device or MAC address of each host; UserError when a host has none."""
    if looks_like_mac(iface):
        check_mac_selector(iface)
    rows = find_interfaces(database, hosts, iface)
    having = {row.host for row in rows}
    for host in hosts:
        if host not in having:
            raise UserError(
                f'host {host} has no interface "{printable(iface)}"; rocks list host interface {host} shows all'
            )
    return rows


def _one(database: Database, host: str, iface: str) -> InterfaceRow:
    return find_rows(database, [host], iface)[0]


def _check_key_remains(row: InterfaceRow, other_key: str | None, cleared: str) -> None:
    if not other_key:
        raise UserError(
            f"the interface of host {row.host} would have neither device nor MAC address without its {cleared}; "
            "remove it instead with rocks remove host interface"
        )


def _set_text(database: Database, hosts: Sequence[str], iface: str, column: str, text: str) -> None:
    ids = [row.id for row in find_rows(database, hosts, iface)]
    set_column(database, ids, column, None if is_null(text) else text)


def remove_interfaces(database: Database, hosts: Sequence[str], iface: str) -> list[str]:
    """Remove the interfaces whose device or MAC address matches `iface`, in which `%` matches any text.

    Returns a line for each bond whose adapters stay. UserError when no interface matches, or when a virtual frontend
    would leave computes on its VLAN.
    """
    lock_inventory(database)
    clusters = own_members(database, hosts)
    members = bond_members(database, hosts, iface)
    set_column(database, [member.id for member in members], "Channel", None)
    removed = delete_interfaces(database, hosts, iface)
    if hosts and not removed:
        raise UserError(
            f'no interface "{printable(iface)}" on {hosts[0] if len(hosts) == 1 else "any of these hosts"}: '
            "rocks list host interface shows all interfaces"
        )
    check_computes_are_not_left(database, clusters)
    bonds: dict[tuple[str, str], list[BondMember]] = {}
    for member in members:
        bonds.setdefault((member.host, member.bond), []).append(member)
    return [_bond_line(one) for one in bonds.values()]


def _bond_line(members: Sequence[BondMember]) -> str:
    """What has become of the adapters of a bond that was removed, and how the first gets its address."""
    first = members[0]
    line = f"the bond {first.bond} of {first.host} is gone"
    if not first.ip:
        return line
    place = f"{first.host} {first.device}"
    network = f", rocks set host interface subnet {place} {first.network}" if first.network else ""
    return (
        f"{line}, and its adapters {', '.join(one.device for one in members)} have no address; to give "
        f"{first.device} that of the bond: rocks set host interface ip {place} {first.ip}{network}"
    )


# Change several interfaces of a host together: its hardware, swapped interfaces, bonds.


class BondParameters(NamedTuple):
    """A bond: its device, its members, the address and network that it gets; name and options None when not given."""

    channel: str
    members: Sequence[str]
    ip: str
    network: str
    name: str | None = None
    options: str | None = None


def configure_interfaces(database: Database, host: str, adapters: Sequence[Adapter]) -> bool:
    """Have interfaces with the devices and MAC addresses of the adapters; returns whether anything changed.

    UserError when an interface of another host has one of the addresses.
    """
    lock_inventory(database)
    rows = _rows(database, host)
    ids = {row.id for row in rows}
    for adapter in adapters:
        owner = find_mac_owner(database, adapter.mac)
        if owner is not None and owner[0] not in ids:
            check_mac_unused(database, adapter.mac)
    plan = plan_configuration(rows, adapters)
    _apply(database, host, plan)
    return bool(plan.changed or plan.added)


def swap_interfaces(database: Database, host: str, one: str, other: str) -> None:
    """Exchange device, MAC address, module and options of two interfaces; addresses and networks stay.

    UserError unless the host has both, and they are different.
    """
    lock_inventory(database)
    ids = [find_rows(database, [host], iface)[0].id for iface in (one, other)]
    if ids[0] == ids[1]:
        raise UserError(f'"{printable(one)}" and "{printable(other)}" are the same interface of host {host}')
    hardware = {row.id: row.hardware for row in _rows(database, host)}
    for number, iface in zip(ids, (one, other), strict=True):
        if number not in hardware:
            raise UserError(f"{printable(iface)} of host {host} is a VLAN device, not an adapter")
    _apply(database, host, Configuration({ids[0]: hardware[ids[1]], ids[1]: hardware[ids[0]]}, []))


def add_bond(database: Database, host: str, bond: BondParameters) -> None:
    """Add a bond over interfaces of the host, which lose their addresses and networks.

    UserError for a member that the host does not have, and as of `add_interface`.
    """
    check_device(bond.channel)
    if len(set(bond.members)) < len(bond.members):
        raise UserError("an interface is given twice in interfaces=")
    if bond.options is not None:
        check_text("options", bond.options, OPTIONS_LONGEST)
        bond_options(Interface(host, bond.channel, None, options=bond.options))
    lock_inventory(database)
    members = [find_rows(database, [host], member)[0] for member in bond.members]
    for member in members:
        device = (member.device or "").lower()
        if not device or device == bond.channel.lower() or device.startswith("vlan"):
            raise UserError(
                f"the interface {printable(member.device or str(member.mac))} cannot be a member of {bond.channel}: "
                "members are other adapters"
            )
    ids = [member.id for member in members]
    for column, value in (("IP", None), ("Subnet", None), ("Channel", bond.channel)):
        set_column(database, ids, column, value)
    parameters = InterfaceParameters(
        bond.channel, ip=bond.ip, module=BONDING, name=bond.name, subnet=bond.network
    )
    add_interface(database, host, parameters)
    if bond.options:
        added = [row.id for row in find_interfaces(database, [host], bond.channel)]
        set_column(database, added, "Options", bond.options)


def _rows(database: Database, host: str) -> list[Row]:
    return [
        Row(number, hardware, (network or "").lower() == PRIVATE_NETWORK)
        for number, network, hardware in read_hardware(database, host)
    ]


def _apply(database: Database, host: str, plan: Configuration) -> None:
    set_hardware(database, plan.changed)
    insert_interfaces(
        database, [NewInterface(host, one.device, one.mac, module=one.module) for one in plan.added]
    )
