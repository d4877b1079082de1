"""Add an interface to a host; everything is checked before the row is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.cluster.interface_rules import check_ip, check_ip_in, check_mac, looks_like_mac
from rocks.cluster.names import check_device, check_interface_name, check_plain_word, printable
from rocks.cluster.values import is_null, read_vlan
from rocks.database import interfaces as table
from rocks.errors import UserError

if TYPE_CHECKING:
    from rocks.cluster.interface_rules import Subnet
    from rocks.database.connection import Database


class InterfaceParameters(NamedTuple):
    """An interface as it was asked for: `iface` is a device or a MAC address, None is what was not said."""

    iface: str
    ip: str | None = None
    mac: str | None = None
    module: str | None = None
    name: str | None = None
    subnet: str | None = None
    vlan: str | None = None


def add_interface(database: Database, host: str, words: InterfaceParameters) -> None:
    """Add the interface that the words describe. UserError, and no change, for anything wrong with them."""
    words = InterfaceParameters(
        words.iface, *(None if word is None or is_null(word) else word for word in words[1:])
    )
    device, mac = _device_and_mac(words)
    if table.find_interfaces(database, [host], words.iface):
        raise UserError(
            f'interface "{printable(words.iface)}" exists: rocks list host interface {host} shows it'
        )
    if mac is not None:
        refuse_used_mac(database, mac)
    if words.module is not None:
        check_plain_word("module", words.module)
    if words.name is not None:
        check_interface_name(words.name)
    vlan = None if words.vlan is None else read_vlan(words.vlan)
    subnet_id, subnet = (None, None) if words.subnet is None else existing_subnet(database, words.subnet)
    if words.ip is not None:
        check_usable_ip(database, words.ip, subnet)
    name = words.name or (host if subnet is not None else None)
    row = table.NewInterface(host, device, mac, words.ip, name, subnet_id, words.module, vlan)
    table.insert_interfaces(database, [row])


def check_usable_ip(database: Database, ip: str, subnet: Subnet | None, own_id: int | None = None) -> None:
    """UserError unless the address is one, of the network, and nobody's but the interface `own_id`'s."""
    check_ip(ip)
    if subnet is not None:
        check_ip_in(ip, subnet)
    owner = table.find_ip_owner(database, ip)
    if owner is not None and owner[0] != own_id:
        raise UserError(f"The ip address {ip} is in use by host {owner[1]}")


def refuse_used_mac(database: Database, mac: str, own_id: int | None = None) -> None:
    """UserError when another interface than `own_id` has the address."""
    owner = table.find_mac_owner(database, mac)
    if owner is not None and owner[0] != own_id:
        raise UserError(f"The mac address {mac} is in use by host {owner[1]}")


def existing_subnet(database: Database, name: str) -> tuple[int, Subnet]:
    """The number and the addresses of a network; UserError when there is none of that name."""
    found = table.find_subnet(database, name)
    if found is None:
        raise UserError(f'unknown network "{printable(name)}": rocks list network shows those there are')
    return found


def _device_and_mac(words: InterfaceParameters) -> tuple[str | None, str | None]:
    if not looks_like_mac(words.iface):
        check_device(words.iface)
        if words.mac is not None:
            check_mac(words.mac)
        return words.iface, words.mac
    check_mac(words.iface)
    if words.mac is not None and words.mac.lower() != words.iface.lower():
        raise UserError(
            f'the interface is named by its mac address {words.iface}, and mac="{printable(words.mac)}" is another; '
            "give one of them"
        )
    return None, words.iface
