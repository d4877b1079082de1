"""Rules for interfaces: VLANs, MAC and IPv4 addresses, and the plan from a host's hardware. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from rocks.core.errors import IncoherentError, UserError
from rocks.core.names import check_device, check_plain_name, printable
from rocks.core.values import is_null, read_number
from rocks.inventory.mac_pool import mac_fault
from rocks.network.limits import MAX_VLAN_ID

if TYPE_CHECKING:
    from collections.abc import Sequence


_OCTET = "[0-9A-Fa-f]{1,2}"
_MAC = re.compile(f"{_OCTET}(?::{_OCTET})+")
_OCTETS = (6, 8, 20)
"""Lengths of hardware addresses: Ethernet, the GUID of a port, the link address of an InfiniBand interface."""

_LEAST_PARTS = 6
"""An argument of so many parts, separated by colons, is a MAC address where a device is valid as well."""


class Subnet(NamedTuple):
    """A network of interfaces: its name, its first address, its netmask."""

    name: str
    subnet: str
    netmask: str


def read_vlan(text: str) -> int | None:
    """The VLAN id in `text`; None for 0 and NULL."""
    return None if is_null(text) else read_number("vlan", text, 0, MAX_VLAN_ID) or None


def looks_like_mac(text: str) -> bool:
    """Whether an argument that names an interface is a MAC address and not a device."""
    return text.count(":") >= _LEAST_PARTS - 1


def check_mac(text: str) -> None:
    """UserError unless `text` has 6 octets of two digits, or 8 or 20 of InfiniBand, and an adapter can have it."""
    check_mac_selector(text)
    if any(len(octet) != 2 for octet in text.split(":")):
        raise UserError(
            f"The mac address {printable(text)} is invalid: give each octet two digits, such as 76:77:6e:80:00:00"
        )
    if reason := mac_fault(text):
        raise UserError(f"The mac address {text} is invalid: it {reason}; no adapter can have it")


def check_mac_selector(text: str) -> None:
    """UserError unless `text` can be the address of a stored interface, which may lack leading zeros."""
    if not _MAC.fullmatch(text) or text.count(":") + 1 not in _OCTETS:
        raise UserError(
            f"The mac address {printable(text)} is invalid: it must be six hexadecimal numbers with colons, "
            "such as 76:77:6e:80:00:00"
        )


def mac_pattern(mac: str) -> str:
    """A regular expression that matches `mac` in all notations: octets with or without a leading zero."""
    return "^" + ":".join(f"0?{int(octet, 16):x}" for octet in mac.split(":")) + "$"


def address_in_use(kind: Literal["ip", "mac"], address: str, owner: str = "", remedy: str = "") -> UserError:
    """The error for an address that another interface has, of the host `owner` where this is known."""
    return UserError(
        f"The {kind} address {address} is in use{owner and f' by host {owner}'}{remedy and f'; {remedy}'}"
    )


def check_ip(text: str) -> None:
    """UserError unless `text` is a valid IPv4 address of an interface."""
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        raise UserError(
            f"The ip address {printable(text)} is invalid: it must be IPv4, such as 10.1.255.254"
        ) from None
    if address.is_unspecified or address.is_multicast or address.is_loopback or address == _ALL_ONES:
        raise UserError(f"The ip address {text} is invalid: no interface can have it")


def check_ip_in(ip: str, subnet: Subnet) -> None:
    """UserError unless the address is inside the network, and neither its first nor its broadcast address."""
    network = read_network(subnet)
    address = ipaddress.IPv4Address(ip)
    if address not in network:
        raise UserError(f'The ip address {ip} is not in the network "{subnet.name}", which is {network}')
    if network.prefixlen < 31 and address in (network.network_address, network.broadcast_address):
        which = "network" if address == network.network_address else "broadcast"
        raise UserError(
            f'The ip address {ip} is the {which} address of "{subnet.name}", {network}; give another'
        )


def read_network(subnet: Subnet) -> ipaddress.IPv4Network:
    """The network as addresses. IncoherentError when its row in the database is not a valid IPv4 network."""
    try:
        return ipaddress.IPv4Network(f"{subnet.subnet}/{subnet.netmask}", strict=False)
    except ValueError:
        raise IncoherentError(
            f'the network "{subnet.name}" has subnet {printable(subnet.subnet)} and netmask '
            f"{printable(subnet.netmask)}, which is not an IPv4 network; correct it with rocks set network subnet"
        ) from None


_ALL_ONES = ipaddress.IPv4Address("255.255.255.255")


# Plan the interfaces of a host from what its hardware has: adapters by MAC address and name. Pure.


BOOTED = "ks"
"""The flag of the adapter from which the host was installed, which is on the private network."""


class Adapter(NamedTuple):
    """A network adapter as the host has it; an empty module is not known."""

    device: str
    mac: str
    module: str | None = None
    is_booted: bool = False


class Hardware(NamedTuple):
    """What a row of an interface says about the adapter, apart from its addresses."""

    device: str | None
    mac: str | None
    module: str | None
    options: str | None


class Row(NamedTuple):
    """An interface of the database: the number of its row, its adapter, and whether it is on the private network."""

    id: int
    hardware: Hardware
    is_private: bool = False


class Configuration(NamedTuple):
    """The changes: row → its new adapter, and the adapters of new rows."""

    changed: dict[int, Hardware]
    added: list[Adapter]


def read_adapters(devices: str, macs: str, modules: str = "", flags: str = "") -> list[Adapter]:
    """The adapters in lists that are separated by commas, matched by their place.

    UserError unless there is a MAC address for each device, all of them different and valid.
    """
    lists = [
        [part.strip() for part in text.split(",")] if text else [] for text in (devices, macs, modules, flags)
    ]
    names, addresses, drivers, booted_flags = lists
    if not names or len(names) != len(addresses):
        raise UserError(
            f"iface has {len(names)} devices and mac {len(addresses)} addresses; give one address for each device"
        )
    if max(len(drivers), len(booted_flags)) > len(names):
        raise UserError(f"module and flag have more values than the {len(names)} devices of iface")
    found = []
    for place, (device, mac) in enumerate(zip(names, addresses, strict=True)):
        check_device(device)
        if device.lower().startswith("vlan"):
            raise UserError(f"{device} is the name of a VLAN's entry, not of an adapter")
        check_mac(mac)
        module = drivers[place] if place < len(drivers) else ""
        if module:
            check_plain_name("module", module)
        found.append(
            Adapter(
                device,
                mac,
                module or None,
                place < len(booted_flags) and booted_flags[place].lower() == BOOTED,
            )
        )
    for what, values in (
        ("device", [one.device for one in found]),
        ("MAC address", [same_mac(m) for m in addresses]),
    ):
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise UserError(f"the {what} {printable(twice)} is given twice")
    if sum(one.is_booted for one in found) > 1:
        raise UserError(
            f"the flag {BOOTED} is given to several devices; one of them is on the private network"
        )
    return found


def plan_configuration(rows: Sequence[Row], adapters: Sequence[Adapter]) -> Configuration:
    """Have a row for each adapter, and the adapter that was booted from in the row of the private network.

    A row is that of an adapter by its MAC address, else by its device. A row whose device an adapter takes gets the
    former device of that adapter's row, or none.
    """
    after = {row.id: row.hardware for row in rows}
    of_adapter, added = _rows_of(rows, adapters)
    for adapter, row in of_adapter.items():
        known = bool(row.hardware.mac) and same_mac(str(row.hardware.mac)) == same_mac(adapter.mac)
        module = adapter.module or (row.hardware.module if known else None)
        after[row.id] = Hardware(adapter.device, adapter.mac, module, row.hardware.options)
    _free_devices(rows, adapters, of_adapter, after)
    booted = next((row for adapter, row in of_adapter.items() if adapter.is_booted), None)
    private = next((row for row in rows if row.is_private), None)
    if booted is not None and private is not None and booted.id != private.id:
        after[booted.id], after[private.id] = after[private.id], after[booted.id]
    new = next((adapter for adapter in added if adapter.is_booted), None)
    if new is not None and private is not None:
        # the private row gets the new adapter, and what it had becomes a new row
        old = after[private.id]
        after[private.id] = Hardware(new.device, new.mac, new.module, None)
        added = [one for one in added if one is not new]
        if old.device and old.mac:
            added.append(Adapter(old.device, old.mac, old.module))
    before = {row.id: row.hardware for row in rows}
    return Configuration({key: value for key, value in after.items() if value != before[key]}, added)


def _rows_of(rows: Sequence[Row], adapters: Sequence[Adapter]) -> tuple[dict[Adapter, Row], list[Adapter]]:
    by_mac = {same_mac(row.hardware.mac): row for row in rows if row.hardware.mac}
    found = {one: by_mac[same_mac(one.mac)] for one in adapters if same_mac(one.mac) in by_mac}
    taken = {row.id for row in found.values()}
    by_device = {str(row.hardware.device).lower(): row for row in rows if row.id not in taken}
    missing = [one for one in adapters if one not in found]
    found |= {one: by_device[one.device.lower()] for one in missing if one.device.lower() in by_device}
    return found, [one for one in missing if one not in found]


def _free_devices(
    rows: Sequence[Row],
    adapters: Sequence[Adapter],
    of_adapter: dict[Adapter, Row],
    after: dict[int, Hardware],
) -> None:
    """Give the rows whose device an adapter takes another device."""
    places = {adapter.device.lower(): row for adapter, row in of_adapter.items()}
    given = {adapter.device.lower() for adapter in adapters}
    changed = {row.id for row in of_adapter.values()}
    for row in rows:
        device = (row.hardware.device or "").lower()
        if row.id in changed or device not in given:
            continue
        former = places[device].hardware.device if device in places else None
        in_use = {(one.device or "").lower() for key, one in after.items() if key != row.id} | given
        free = former if former and former.lower() not in in_use else None
        after[row.id] = row.hardware._replace(device=free)


def same_mac(mac: str) -> str:
    """A MAC address in a notation that equal addresses share."""
    return ":".join(f"{int(octet, 16):02x}" for octet in mac.split(":"))
