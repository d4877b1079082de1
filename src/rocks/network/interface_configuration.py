"""Change several interfaces of a host together: its hardware, swapped interfaces, bonds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError
from rocks.core.names import check_device, printable
from rocks.core.values import check_text
from rocks.inventory.inventory_lock import lock_inventory
from rocks.inventory.records import PRIVATE_NETWORK, Interface
from rocks.network import interface_records as table
from rocks.network.host_network_plan import BONDING, bond_options
from rocks.network.interface_configuration_plan import Configuration, Row, plan_configuration
from rocks.network.interfaces import InterfaceParameters, add_interface, check_mac_unused, find_rows
from rocks.network.limits import OPTIONS_LONGEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database
    from rocks.network.interface_configuration_plan import Adapter


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
        owner = table.find_mac_owner(database, adapter.mac)
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
        table.set_column(database, ids, column, value)
    parameters = InterfaceParameters(
        bond.channel, ip=bond.ip, module=BONDING, name=bond.name, subnet=bond.network
    )
    add_interface(database, host, parameters)
    if bond.options:
        added = [row.id for row in table.find_interfaces(database, [host], bond.channel)]
        table.set_column(database, added, "Options", bond.options)


def _rows(database: Database, host: str) -> list[Row]:
    return [
        Row(number, hardware, (network or "").lower() == PRIVATE_NETWORK)
        for number, network, hardware in table.read_hardware(database, host)
    ]


def _apply(database: Database, host: str, plan: Configuration) -> None:
    table.set_hardware(database, plan.changed)
    table.insert_interfaces(
        database, [table.NewInterface(host, one.device, one.mac, module=one.module) for one in plan.added]
    )
