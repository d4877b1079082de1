"""The names of a site: which address has which names, in /etc/hosts and in DNS. Pure. Source: specification §4.5.

An interface with an address on a network with a zone is named NAME.ZONE, where NAME is its own name, or else that of
its host; a BMC that would share this name with its host is HOST-DEVICE.ZONE. The name of a host and its aliases belong
to one of its addresses, which `choose_interface` decides.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError
from rocks.core.names import check_alias, check_interface_name, printable
from rocks.inventory.addresses import AddressedInterface, choose_interface
from rocks.inventory.records import PRIVATE_NETWORK
from rocks.network.network_rules import check_zone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rocks.inventory.records import Network


class NamedAddress(NamedTuple):
    """An address, its name in the zone of its network, and the names without a zone that belong to it.

    `others` begins with the host's name where the address is the one of the host's name; `is_host` says that. `is_bmc`:
    another machine than the host has the address.
    """

    address: ipaddress.IPv4Address
    host: str
    network: str
    label: str
    zone: str
    others: tuple[str, ...]
    is_host: bool
    is_bmc: bool

    @property
    def full_name(self) -> str:
        """The name with its zone, without a dot at the end."""
        return f"{self.label}.{self.zone}"


class SiteNames(NamedTuple):
    """All named addresses, in numerical order; and what was left out, a sentence each."""

    addresses: tuple[NamedAddress, ...]
    problems: tuple[str, ...]


def with_valid_zones(networks: Iterable[Network]) -> tuple[list[Network], list[str]]:
    """The networks, those with an invalid zone without it; and a sentence on each of these.

    The zone is part of named.conf: an invalid one, which only other programs store, could be anything there.
    """
    problems: list[str] = []
    valid = [
        network
        if not network.dns_zone or _is_valid(check_zone, network.dns_zone, _zone_of(network.name), problems)
        else replace(network, dns_zone="")
        for network in networks
    ]
    return valid, problems


def _zone_of(network: str) -> str:
    return f"the zone of the network {printable(network)}"


def name_addresses(
    interfaces: Iterable[AddressedInterface],
    networks: Sequence[Network],
    aliases: Iterable[tuple[str, str]],
) -> SiteNames:
    """The names of all interfaces with an address; `aliases` are (host, alias).

    A name that cannot stand in /etc/hosts or DNS, as only earlier releases and other programs store one, is left out.
    """
    problems: list[str] = []
    zones = {network.name.lower(): network.dns_zone for network in networks if network.dns_zone}
    stored = list(interfaces)
    shared = {_full_name(one, zones) for one in stored if not one.is_bmc}
    found: list[NamedAddress] = []
    of_hosts: dict[str, list[AddressedInterface]] = {}
    for one in stored:
        is_shared = one.is_bmc and _full_name(one, zones) in shared
        label = f"{one.host}-{one.device or 'bmc'}" if is_shared else one.name or one.host
        if (entry := _entry(one, label, zones, problems)) is not None:
            found.append(entry)
            of_hosts.setdefault(one.host.lower(), []).append(one)
    of_host = _own_addresses(of_hosts, problems)
    others: dict[str, list[str]] = {}
    for host, alias in aliases:
        if _is_valid(check_alias, alias, f"the alias {printable(alias)} of host {printable(host)}", problems):
            others.setdefault(host.lower(), []).append(alias)
    uses = _label_uses(found, others)
    named = [_with_others(entry, of_host, others, uses) for entry in found]
    return SiteNames(tuple(sorted(named, key=lambda one: (one.address, one.full_name))), tuple(problems))


def _full_name(one: AddressedInterface, zones: Mapping[str, str]) -> tuple[str, str]:
    return (one.name or one.host).lower(), zones.get(one.network.lower(), "").lower()


def _entry(
    one: AddressedInterface, label: str, zones: Mapping[str, str], problems: list[str]
) -> NamedAddress | None:
    zone = zones.get(one.network.lower(), "")
    if not zone:
        return None
    try:
        address = ipaddress.IPv4Address(one.address)
    except ValueError:
        problems.append(
            f"host {printable(one.host)} has {printable(one.address)}, which is not an IPv4 address, on the network "
            f"{one.network}: rocks set host interface ip {printable(one.host)}"
        )
        return None
    what = f"the name {printable(label)} of host {printable(one.host)} on the network {one.network}"
    if not (
        _is_valid(check_interface_name, label, what, problems)
        and _is_valid(check_interface_name, one.host, f"the host {printable(one.host)}", problems)
        and _is_valid(check_zone, zone, _zone_of(one.network), problems)
    ):
        return None
    return NamedAddress(
        address, one.host, one.network, label, zone.lower(), (), is_host=False, is_bmc=one.is_bmc
    )


def _is_valid(check: Callable[[str], None], text: str, what: str, problems: list[str]) -> bool:
    try:
        check(text)
    except UserError:
        problems.append(f"{what} is not a valid name, and is left out")
        return False
    return True


def _own_addresses(
    of_hosts: Mapping[str, Sequence[AddressedInterface]], problems: list[str]
) -> dict[str, tuple[str, str]]:
    """Host, in lower case → the address of its name, and that address's network."""
    chosen: dict[str, tuple[str, str]] = {}
    for host, interfaces in of_hosts.items():
        own = choose_interface(interfaces, PRIVATE_NETWORK)
        if own is not None:
            chosen[host] = str(ipaddress.IPv4Address(own.address)), own.network
            continue
        first = interfaces[0]
        others = [one for one in interfaces if not one.is_bmc]
        if others:
            name, device = first.host, printable(others[0].device or "DEVICE")
            problems.append(
                f"no address has the name of host {name}, for its interfaces have names of their own: rocks set host "
                f"interface name {name} {device} {name} gives it to {device}"
            )
    return chosen


def _label_uses(found: Iterable[NamedAddress], aliases: Mapping[str, Sequence[str]]) -> Counter[str]:
    """Name without a zone → the number of addresses, hosts and aliases with it."""
    uses = Counter(entry.label.lower() for entry in found)
    uses.update({entry.host.lower() for entry in found if entry.label.lower() != entry.host.lower()})
    uses.update(alias.lower() for of_host in aliases.values() for alias in of_host)
    return uses


def _with_others(
    entry: NamedAddress,
    of_host: Mapping[str, tuple[str, str]],
    aliases: Mapping[str, Sequence[str]],
    uses: Mapping[str, int],
) -> NamedAddress:
    is_host = of_host.get(entry.host.lower()) == (str(entry.address), entry.network)
    names = [entry.host] if is_host else []
    if entry.label.lower() != entry.host.lower() and uses[entry.label.lower()] == 1:
        names.append(entry.label)
    if is_host:
        names += aliases.get(entry.host.lower(), ())
    return entry._replace(others=tuple(dict.fromkeys(names)), is_host=is_host)
