"""Change one column of hosts' interfaces; `NULL`, in any case, clears it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.actions.add_interface import check_usable_ip, existing_subnet, refuse_used_mac
from rocks.cluster.interface_rules import check_ip_in, check_mac, looks_like_mac
from rocks.cluster.names import check_device, check_interface_name, check_plain_word, printable
from rocks.cluster.values import check_text, is_null, read_vlan
from rocks.database import interfaces as table
from rocks.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database
    from rocks.database.interfaces import InterfaceRow

OPTIONS_LONGEST = 128


def set_ip(database: Database, host: str, iface: str, ip: str) -> None:
    """Set the IPv4 address, which must be one of the interface's network and nobody else's."""
    row = _one(database, host, iface)
    if not is_null(ip):
        check_usable_ip(database, ip, row.subnet, row.id)
    table.set_column(database, [row.id], "IP", None if is_null(ip) else ip)


def set_mac(database: Database, host: str, iface: str, mac: str) -> None:
    """Set the MAC address, which must be nobody else's."""
    row = _one(database, host, iface)
    if is_null(mac):
        _refuse_nameless(row, row.device, "MAC address")
    else:
        check_mac(mac)
        refuse_used_mac(database, mac, row.id)
    table.set_column(database, [row.id], "MAC", None if is_null(mac) else mac)


def set_device(database: Database, host: str, mac: str, device: str) -> None:
    """Set the device of the interface with that MAC address."""
    row = _one(database, host, mac)
    if is_null(device):
        _refuse_nameless(row, row.mac, "device")
    else:
        check_device(device)
        if any(other.id != row.id for other in table.find_interfaces(database, [host], device)):
            raise UserError(
                f'interface "{printable(device)}" exists: rocks list host interface {host} shows it'
            )
    table.set_column(database, [row.id], "Device", None if is_null(device) else device)


def set_name(database: Database, host: str, iface: str, name: str) -> None:
    """Set the interface's name, which is the host's own when it is cleared."""
    row = _one(database, host, iface)
    if not is_null(name):
        check_interface_name(name)
    table.set_column(database, [row.id], "Name", row.host if is_null(name) else name)


def set_subnet(database: Database, hosts: Sequence[str], iface: str, subnet: str) -> None:
    """Put the interfaces on a network, of which their addresses must be; one without a name gets its host's."""
    rows = find_rows(database, hosts, iface)
    if is_null(subnet):
        table.set_column(database, [row.id for row in rows], "Subnet", None)
        return
    subnet_id, network = existing_subnet(database, subnet)
    for row in rows:
        if row.ip:
            check_ip_in(row.ip, network)
    table.set_subnet(database, [row.id for row in rows], subnet_id)


def set_vlan(database: Database, hosts: Sequence[str], iface: str, vlan: str) -> None:
    """Set the VLAN; 0 is none."""
    number = read_vlan(vlan)
    table.set_column(database, [row.id for row in find_rows(database, hosts, iface)], "VlanID", number)


def set_module(database: Database, hosts: Sequence[str], iface: str, module: str) -> None:
    """Set the driver of the interface."""
    if not is_null(module):
        check_plain_word("module", module)
    _set_text(database, hosts, iface, "Module", module)


def set_channel(database: Database, hosts: Sequence[str], iface: str, channel: str) -> None:
    """Set the channel of the interface, as the name of a bond."""
    if not is_null(channel):
        check_plain_word("channel", channel)
    _set_text(database, hosts, iface, "Channel", channel)


def set_options(database: Database, hosts: Sequence[str], iface: str, options: str) -> None:
    """Set the options of the interface's driver; any text of one line."""
    check_text("options", options, OPTIONS_LONGEST)
    _set_text(database, hosts, iface, "Options", options)


def find_rows(database: Database, hosts: Sequence[str], iface: str) -> list[InterfaceRow]:
    """The interface of that device or MAC address of each host; UserError when a host has none."""
    if looks_like_mac(iface):
        check_mac(iface)
    rows = table.find_interfaces(database, hosts, iface)
    having = {row.host for row in rows}
    for host in hosts:
        if host not in having:
            raise UserError(
                f'host {host} has no interface "{printable(iface)}": rocks list host interface {host} shows all'
            )
    return rows


def _one(database: Database, host: str, iface: str) -> InterfaceRow:
    return find_rows(database, [host], iface)[0]


def _refuse_nameless(row: InterfaceRow, other_key: str | None, cleared: str) -> None:
    if not other_key:
        raise UserError(
            f"the interface of host {row.host} would have neither device nor MAC address without its {cleared}; "
            "remove it instead with rocks remove host interface"
        )


def _set_text(database: Database, hosts: Sequence[str], iface: str, column: str, text: str) -> None:
    ids = [row.id for row in find_rows(database, hosts, iface)]
    table.set_column(database, ids, column, None if is_null(text) else text)
