"""Options of an interface of a physical host that say how its device is set up. Pure. Source: specification §4.2."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError
from rocks.core.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rocks.inventory.records import Interface

BONDING = "bonding"
"""The module of a bond, whose channel its members name."""

_VALUE = re.compile(r"[A-Za-z0-9_.,:+/-]+", re.ASCII)
BOND_OPTIONS = frozenset(
    (
        *("mode", "miimon", "updelay", "downdelay", "lacp_rate", "xmit_hash_policy", "primary", "primary_reselect"),
        *("arp_interval", "arp_ip_target", "arp_validate", "ad_select", "fail_over_mac", "min_links"),
        *("num_grat_arp", "resend_igmp", "packets_per_slave", "all_slaves_active"),
    )
)  # fmt: skip
"""Options of the kernel's bonding driver (Documentation/networking/bonding.rst) that all renderings know."""

BOND_MODES = (
    *("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"),
)
"""The driver's modes, by their number."""


class BondOption(NamedTuple):
    """An option of the bonding driver, by the driver's name."""

    name: str
    value: str


def is_bond(interface: Interface) -> bool:
    """Whether the interface is a bond of other devices."""
    return (interface.module or "").lower() == BONDING and bool(interface.device)


def boot_mac(interface: Interface, interfaces: Iterable[Interface]) -> str | None:
    """The MAC address with which a host boots on one of its interfaces; of a bond that of its first adapter."""
    if interface.mac or not is_bond(interface):
        return interface.mac
    return next((one.mac for one in interfaces if one.mac and one.channel == interface.device), None)


def is_unreported(interface: Interface) -> bool:
    """Whether the device is set up by other means: an option that begins with `noreport`."""
    return _has_option_like(interface, "noreport")


def uses_dhcp(interface: Interface) -> bool:
    """Whether the device gets its address by DHCP: an option that begins with `dhcp`."""
    return _has_option_like(interface, "dhcp")


def is_unbridged(interface: Interface) -> bool:
    """Whether the device has no bridge on a host of virtual machines: the option `novtap` or `nobridge`."""
    return interface.has_option("novtap") or interface.has_option("nobridge")


def bond_options(interface: Interface) -> tuple[BondOption, ...]:
    """The options of a bond, with a number of a mode as its name. UserError, with a command, for an unknown one."""
    found = []
    for text in (interface.options or "").split():
        name, equals, value = text.partition("=")
        if not equals and (name in ("novtap", "nobridge") or name.startswith("dhcp")):
            continue
        if name not in BOND_OPTIONS or not _VALUE.fullmatch(value):
            raise UserError(
                f'the bond {interface.device} of host {interface.host} has the option "{printable(text)}", which is '
                f"not valid: rocks set host interface options {interface.host} {interface.device} "
                'options="mode=active-backup miimon=100"'
            )
        if name == "mode":
            value = _mode(interface, value)
        found.append(BondOption(name, value))
    return tuple(found)


def _mode(interface: Interface, text: str) -> str:
    if text.isascii() and text.isdigit() and int(text) < len(BOND_MODES):
        return BOND_MODES[int(text)]
    if text not in BOND_MODES:
        raise UserError(
            f"the bond {interface.device} of host {interface.host} has the mode {text}, which is none of "
            f"{', '.join(BOND_MODES)}: rocks set host interface options {interface.host} {interface.device}"
        )
    return text


def _has_option_like(interface: Interface, beginning: str) -> bool:
    return any(one.startswith(beginning) for one in (interface.options or "").replace(",", " ").split())
