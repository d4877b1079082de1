"""The second device of a host of virtual machines is on the network public, as a frontend's is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.inventory.loaded_host_records import load_hosts
from rocks.network.interfaces import InterfaceParameters, add_interface, list_interfaces
from rocks.network.networks import network_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database

_NETWORK, _DEVICE = "public", "eth1"


def enter_public_device(database: Database, name: str, adapters: Sequence[str]) -> None:
    """Enter it for a host that is being installed and has these MAC addresses, unless more than one is entered.

    UserError, and no change, when another host has the address.
    """
    (host,) = load_hosts(database, [name])
    if host.is_true("kvm") and _NETWORK in network_names(database):
        entered = [str(row[3] or "") for row in list_interfaces(database, [name])]
        mac = second_adapter(entered, adapters)
        if mac:
            add_interface(database, name, InterfaceParameters(_DEVICE, mac=mac, subnet=_NETWORK))


def second_adapter(entered: Sequence[str], adapters: Sequence[str]) -> str:
    """The MAC address of the adapter that is not entered; '' unless there are two, and only the other is entered.

    Of more, nothing says which is on which network. Pure.
    """
    known = [mac.lower() for mac in entered]
    others = [mac.lower() for mac in adapters if mac.lower() not in known]
    return others[0] if len(known) == len(others) == 1 and len(adapters) == 2 else ""
