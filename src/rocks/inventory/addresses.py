"""How a host is reached: its address and its port. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import StateError
from rocks.inventory.attributes.known import value_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def choose_address(addresses: Iterable[tuple[str, str]], primary_network: str) -> str | None:
    """The address on the primary network, else the first on any network; None without an address.

    `addresses` are (network, address) in the order of the database. Names of networks compare without case.
    """
    found = list(addresses)
    on_primary = [address for network, address in found if network.lower() == primary_network.lower()]
    return next(iter(on_primary or [address for _, address in found]), None)


def ssh_port(host: str, attributes: Mapping[str, str]) -> int:
    """The port in the attribute `ssh_port`; StateError unless it is a TCP port."""
    text = value_in(attributes, "ssh_port")
    if text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536:
        return int(text)
    raise StateError(
        f'the attribute ssh_port of {host} is "{text}", which is not a port; '
        f"correct it with rocks set host attr {host} ssh_port 22"
    )
