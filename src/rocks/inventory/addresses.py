"""How a host is reached: its address and its port. Pure.

One function decides which address has the name of a host, for SSH, names in /etc/hosts and DNS, Slurm, profiles and
image storage.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import StateError
from rocks.inventory.attributes.known import value_in
from rocks.inventory.records import PRIVATE_NETWORK, is_bmc

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rocks.inventory.records import Interface

_NUMBERS = re.compile(r"([0-9]+)")


class AddressedInterface(NamedTuple):
    """An interface with an address, as stored; what it does not have is ''."""

    host: str
    name: str
    address: str
    network: str
    device: str = ""
    channel: str = ""

    @property
    def is_bmc(self) -> bool:
        """Whether it is the host's BMC, which is another machine."""
        return is_bmc(self.device, self.channel)

    @property
    def has_own_name(self) -> bool:
        """Whether its name is another one than that of its host."""
        return self.name.lower() not in ("", self.host.lower())


def addressed(interfaces: Iterable[Interface]) -> list[AddressedInterface]:
    """The interfaces that have an address."""
    return [
        AddressedInterface(
            one.host, one.name or "", one.ip, one.subnet or "", one.device or "", one.channel or ""
        )
        for one in interfaces
        if one.ip
    ]


def choose_interface(
    interfaces: Iterable[AddressedInterface], first_network: str
) -> AddressedInterface | None:
    """The interface whose address has the name of the host; None when it has none.

    A BMC, and an interface with a name of its own, never has it. Of several, that on the first network, else on
    private, else on any; the order in which they were added does not count. Names compare without case.
    """
    networks = (first_network.lower(), PRIVATE_NETWORK)

    def place(one: AddressedInterface) -> tuple[object, ...]:
        network = one.network.lower()
        number = networks.index(network) if network in networks else len(networks) + (not network)
        device, _, label = one.device.lower().partition(":")
        is_vlan = device.startswith("vlan")
        return number, network, is_vlan, *map(_natural, (device, label, one.address))

    return min((one for one in interfaces if not (one.is_bmc or one.has_own_name)), key=place, default=None)


def choose_address(interfaces: Iterable[Interface], first_network: str) -> str | None:
    """The address of `choose_interface`."""
    found = choose_interface(addressed(interfaces), first_network)
    return found.address if found else None


def _natural(text: str) -> list[tuple[int, str]]:
    """By which eth2 comes before eth10."""
    parts = _NUMBERS.split(text)
    return [(int(number), after) for number, after in zip(["0", *parts[1::2]], parts[::2], strict=True)]


def ssh_port(host: str, attributes: Mapping[str, str]) -> int:
    """The port in the attribute `ssh_port`; StateError unless it is a TCP port."""
    text = value_in(attributes, "ssh_port")
    if text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536:
        return int(text)
    raise StateError(
        f'the attribute ssh_port of {host} is "{text}", which is not a port; '
        f"correct it with rocks set host attr {host} ssh_port 22"
    )
