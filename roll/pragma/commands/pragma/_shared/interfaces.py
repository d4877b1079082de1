"""Further interfaces of a cluster, `add-iface=NETWORK[:ADDRESS/PREFIX],…`: their networks, devices and addresses."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import StateError, UserError
from rocks.core.terminal import one_line

from .site import INTERFACES, rows

if TYPE_CHECKING:
    from rocks.commands import Command


class AddedInterface(NamedTuple):
    """An interface that each machine gets: `device` in the guest, and the address of the frontend, if it is given.

    `part` has the addresses that this site chooses from, where a network is shared with other sites.
    """

    network: str
    device: str
    address: IPv4Interface | None
    part: IPv4Network | None = None


def read_interfaces(text: str, allowed: str) -> tuple[AddedInterface, ...]:
    """What a user asks for. `allowed` is `NETWORK:DEVICE[:PART] …` of the site. Pure.

    UserError for what is not valid, StateError for a part that is no network.
    """
    devices = dict(entry.partition(":")[::2] for entry in allowed.split())
    found: dict[str, AddedInterface] = {}
    for entry in text.split(",") if text else []:
        network, colon, address = entry.partition(":")
        device, _, part = devices.get(network, "").partition(":")
        if not device or network in found:
            raise UserError(
                f"add-iface has {one_line(entry)[:80]!r}, which is no network of the attribute {INTERFACES} "
                f"({' '.join(devices) or 'it has none'}), or is there twice"
            )
        try:
            own = IPv4Interface(address) if colon else None
            if own is not None and "/" not in address:
                raise ValueError(address)
        except ValueError:
            raise UserError(f"add-iface has {one_line(entry)[:80]!r}; give NETWORK:ADDRESS/PREFIX") from None
        found[network] = AddedInterface(network, device, own, _part(part) if part else None)
    return tuple(found.values())


def _part(text: str) -> IPv4Network:
    try:
        return IPv4Network(text)
    except ValueError:
        raise StateError(
            f"the attribute {INTERFACES} has {one_line(text)[:80]!r}, which is no part of a network; "
            f"rocks set attr {INTERFACES} 'NETWORK:DEVICE NETWORK:DEVICE:ADDRESS/PREFIX …'"
        ) from None


def choose_addresses(
    network: IPv4Network,
    first: IPv4Interface | None,
    used: Sequence[IPv4Address],
    count: int,
    part: IPv4Network | None = None,
) -> list[IPv4Address]:
    """Addresses of that many machines: those from the given one upwards, else, or where that is the network's own, the
    free ones from the top. Pure.

    With a part of the network, all are of that. UserError when the given one is not of the network, or of the part,
    StateError when these have too few.
    """
    if first is not None and first.network != network:
        raise UserError(f"add-iface has {first}, and the network is {network}; give an address in it")
    if first is not None and first.ip == network.network_address:
        first = None  # the network, which names no address
    if part is not None and first is not None and first.ip not in part:
        raise UserError(f"add-iface has {first}, and this site's part is {part}; give an address in it")
    bottom, top = int(network.network_address) + 1, int(network.broadcast_address)
    # the command itself refuses a given one that is in use
    taken = {int(one) for one in used} - ({int(first.ip)} if first else set())
    if part is not None:
        bottom, top = max(bottom, int(part.network_address)), min(top, int(part.broadcast_address) + 1)
    numbers = range(top - 1, bottom - 1, -1) if first is None else range(int(first.ip), top)
    found = list(islice((IPv4Address(one) for one in numbers if one not in taken), count))
    if len(found) == count:
        return found
    place = part or network
    raise StateError(
        f"the network {place} has no {count} addresses that are free; give another one in add-iface"
    )


def add_interfaces(command: Command, machines: Sequence[str], added: Sequence[AddedInterface]) -> None:
    """Give each machine these interfaces. UserError or StateError for a network or an address that cannot be used."""
    if not added:
        return
    networks = {str(row["owner"]): row for row in rows(command, "list.network")}
    # once for all: each is of another network
    used = [IPv4Address(str(own["ip"])) for own in rows(command, "list.host.interface") if own["ip"]]
    for one in added:
        row = networks.get(one.network)
        if row is None:
            raise StateError(
                f"the attribute {INTERFACES} has the network {one.network}, which the site lacks"
            )
        network = IPv4Network(f"{row['subnet']}/{row['netmask']}")
        for machine, address in zip(
            machines, choose_addresses(network, one.address, used, len(machines), one.part), strict=True
        ):
            mac = command.command("report.vm.nextmac").strip()
            command.command(
                "add.host.interface",
                [machine, one.device, f"ip={address}", f"subnet={one.network}", f"mac={mac}"],
            )
