"""Add, change and remove interfaces of hosts in the database; the value `NULL`, in any case, clears a column."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError
from rocks.core.names import (
    check_device,
    check_interface_name,
    check_no_number,
    check_plain_name,
    first_few,
    printable,
)
from rocks.core.values import check_text, is_null
from rocks.inventory.cluster_records import members, on_vlans, own_members, shared_machines
from rocks.inventory.hosts import check_interface_name_unused
from rocks.inventory.inventory_lock import lock_inventory
from rocks.inventory.loaded_host_records import which_are_vms
from rocks.leases.fences import check_addition
from rocks.network import interface_records as table
from rocks.network.cluster_vlans import claim_own_vlans, move_vlan, other_owner_of_vlan
from rocks.network.interface_rules import (
    address_in_use,
    check_ip,
    check_ip_in,
    check_mac,
    check_mac_selector,
    looks_like_mac,
    read_vlan,
)
from rocks.network.limits import OPTIONS_LONGEST
from rocks.network.network_records import network_names
from rocks.network.network_rules import unknown_network

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.cluster_records import Cluster
    from rocks.network.interface_records import InterfaceRow
    from rocks.network.interface_rules import Subnet


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
    if table.find_interfaces(database, [host], parameters.iface):
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
    row = table.NewInterface(host, device, mac, parameters.ip, name, subnet_id, parameters.module, vlan)
    table.insert_interfaces(database, [row])
    if vlan:
        claim_frontends_vlan(database, [host], vlan)


def check_usable_ip(database: Database, ip: str, subnet: Subnet | None, own_id: int | None = None) -> None:
    """UserError unless the address is valid, inside the network and unused by interfaces other than `own_id`."""
    check_ip(ip)
    if subnet is not None:
        check_ip_in(ip, subnet)
    owner = table.find_ip_owner(database, ip)
    if owner is not None and owner[0] != own_id:
        raise address_in_use("ip", ip, owner[1])


def check_mac_unused(database: Database, mac: str, own_id: int | None = None) -> None:
    """UserError when an interface other than `own_id` has the address."""
    owner = table.find_mac_owner(database, mac)
    if owner is not None and owner[0] != own_id:
        raise address_in_use("mac", mac, owner[1])


def _check_none_is_unknown(database: Database, hosts: Sequence[str]) -> None:
    """StateError as of `check_addition` when virtual machines among the hosts could get what another one has."""
    if which_are_vms(database, hosts):
        check_addition(database, ())


def existing_subnet(database: Database, name: str) -> tuple[int, Subnet]:
    """The ID and the addresses of a network; UserError when no network has that name."""
    found = table.find_subnet(database, name)
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
    table.set_column(database, [row.id], "IP", None if is_null(ip) else ip)


def set_mac(database: Database, host: str, iface: str, mac: str) -> None:
    """Set the MAC address; UserError when another interface has it, or no interface of a machine can have it."""
    lock_inventory(database)
    row = _one(database, host, iface)
    if is_null(mac):
        _check_key_remains(row, row.device, "MAC address")
    else:
        check_mac(mac)
        check_mac_unused(database, mac, row.id)
    table.set_column(database, [row.id], "MAC", None if is_null(mac) else mac)


def set_device(database: Database, host: str, mac: str, device: str) -> None:
    """Set the device of the interface with that MAC address."""
    row = _one(database, host, mac)
    if is_null(device):
        _check_key_remains(row, row.mac, "device")
    else:
        check_device(device)
        if any(other.id != row.id for other in table.find_interfaces(database, [host], device)):
            raise UserError(
                f'interface "{printable(device)}" exists: rocks list host interface {host} shows it'
            )
    table.set_column(database, [row.id], "Device", None if is_null(device) else device)


def set_name(database: Database, host: str, iface: str, name: str) -> None:
    """Set the name of the interface, not that of another host; a cleared name becomes that of the host."""
    lock_inventory(database)
    row = _one(database, host, iface)
    if not is_null(name):
        _check_name(database, name, row.host)
    table.set_column(database, [row.id], "Name", row.host if is_null(name) else name)


def _check_name(database: Database, name: str, host: str) -> None:
    check_interface_name(name)
    check_no_number("interface name", name)
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
        table.set_column(database, [row.id for row in rows], "Subnet", None)
        check_computes_are_not_left(database, clusters)
        return
    subnet_id, network = existing_subnet(database, subnet)
    for row in rows:
        if row.ip:
            check_ip_in(row.ip, network)
    table.set_subnet(database, [row.id for row in rows], subnet_id)
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
    table.set_column(database, [row.id for row in find_rows(database, hosts, iface)], "VlanID", number)
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
    table.set_column(database, [row.id for row in find_rows(database, hosts, iface)], "Disable_KVM", disabled)


def find_rows(database: Database, hosts: Sequence[str], iface: str) -> list[InterfaceRow]:
    """The interface of that device or MAC address of each host; UserError when a host has none."""
    if looks_like_mac(iface):
        check_mac_selector(iface)
    rows = table.find_interfaces(database, hosts, iface)
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
    table.set_column(database, ids, column, None if is_null(text) else text)


def remove_interfaces(database: Database, hosts: Sequence[str], iface: str) -> list[str]:
    """Remove the interfaces whose device or MAC address matches `iface`, in which `%` matches any text.

    Returns a line for each bond whose adapters stay. UserError when no interface matches, or when a virtual frontend
    would leave computes on its VLAN.
    """
    lock_inventory(database)
    clusters = own_members(database, hosts)
    members = table.bond_members(database, hosts, iface)
    table.set_column(database, [member.id for member in members], "Channel", None)
    removed = table.remove_interfaces(database, hosts, iface)
    if hosts and not removed:
        raise UserError(
            f'no interface "{printable(iface)}" on {hosts[0] if len(hosts) == 1 else "any of these hosts"}: '
            "rocks list host interface shows all interfaces"
        )
    check_computes_are_not_left(database, clusters)
    bonds: dict[tuple[str, str], list[table.BondMember]] = {}
    for member in members:
        bonds.setdefault((member.host, member.bond), []).append(member)
    return [_bond_line(one) for one in bonds.values()]


def _bond_line(members: Sequence[table.BondMember]) -> str:
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
