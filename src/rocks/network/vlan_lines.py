"""The network devices of a host as shell commands, to compare or to make one by hand. Pure."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rocks.network.guest_connections import long_vlan_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rocks.fleet.wire.links import LinkSpec

_SILENT = (
    ("ipv6", "disable_ipv6", 1),
    ("ipv4", "rp_filter", 1),
    ("ipv4", "forwarding", 0),
    ("ipv4", "arp_ignore", 8),
    ("ipv4", "drop_unicast_in_l2_multicast", 1),
)
"""As in `network.host.links`: the host does not take part in its guests' network."""


def vlan_lines(links: Iterable[LinkSpec]) -> list[str]:
    """A line for each device, which makes the device when absent; a shortened name is followed by the long name."""
    return [_line(link) for link in links]


def _line(link: LinkSpec) -> str:
    device = shlex.quote(link.device)
    if link.parent is None:
        make = f"ip link add {device} type bridge"
    else:
        make = f"ip link add link {shlex.quote(link.parent)} name {device} type vlan id {link.vlan}"
    silence = "; ".join(
        f"echo {value} >/proc/sys/net/{family}/conf/{device}/{switch}" for family, switch, value in _SILENT
    )
    mtu = f" mtu {link.mtu}" if link.mtu is not None else ""
    line = (
        f"[ -e /sys/class/net/{device} ] || {{ {make} && {silence}; "
        f"ip link set {device}{mtu} arp off alias rocks:{link.vlan} up; }}"
    )
    return line + _long_name(link)


def _long_name(link: LinkSpec) -> str:
    long = long_vlan_name(link.parent, link.vlan) if link.parent is not None else link.device
    return "" if long == link.device else f"  # {long}"
