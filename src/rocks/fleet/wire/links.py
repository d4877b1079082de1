"""A network device on a host, for its guests."""

from __future__ import annotations

from typing import Literal, Optional

from rocks.core.dataclasses import dataclass

LinkKind = Literal["vlan", "local_bridge", "site_bridge", "site_device"]

ISOLATION_SYSCTLS = (
    ("ipv6", "disable_ipv6", "1"),
    ("ipv4", "rp_filter", "1"),
    ("ipv4", "forwarding", "0"),
    ("ipv4", "arp_ignore", "8"),
    ("ipv4", "drop_unicast_in_l2_multicast", "1"),
)
"""Settings of a device that a host makes, below /proc/sys/net: it takes no part in the network of its guests."""


@dataclass(frozen=True)
class LinkSpec:
    """A network device that guests connect to: an 802.1Q device over `parent`, or a bridge without uplink.

    The bridge has no parent. `mtu` None keeps the default of the kernel. A `site_bridge` or `site_device` belongs to
    the site: it must exist, be up, and be a bridge or no bridge, respectively; its VLAN is 0.
    """

    device: str
    kind: LinkKind
    parent: Optional[str]
    vlan: int
    mtu: Optional[int] = None
