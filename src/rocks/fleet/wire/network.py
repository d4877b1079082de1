"""Requests about the network of a host: how guests are connected, and which devices it needs."""

from __future__ import annotations

from typing import Literal, Optional, Tuple

from rocks.core.dataclasses import dataclass
from rocks.fleet.wire.errors import AgentError
from rocks.fleet.wire.request import Request

LinkKind = Literal["vlan", "local_bridge", "site_bridge", "site_device"]

ISOLATION_SYSCTLS = (
    ("ipv6", "disable_ipv6", "1"),
    ("ipv4", "rp_filter", "1"),
    ("ipv4", "forwarding", "0"),
    ("ipv4", "arp_ignore", "8"),
    ("ipv4", "drop_unicast_in_l2_multicast", "1"),
)
"""Settings of a device that a host makes, below /proc/sys/net: it takes no part in the network of its guests."""

FilterState = Literal["on", "off", "missing", "adapter"]
"""`missing`: the domain's XML requires a filter, but its device has none. `adapter`: the adapter checks the source."""

LinkResult = Literal["made", "kept", "removed", "used", "failed"]
"""`used`: no machine is planned to need the device, but it is in use."""


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


@dataclass(frozen=True)
class DropCount:
    """Frames of a guest that its host dropped, for this reason."""

    reason: str
    frames: int


@dataclass(frozen=True)
class InterfaceFact:
    """An interface of a running domain, by its MAC address; byte counts from the guest's point of view.

    `device` is the host's end, `source` the device that it is connected to. For a virtual function these are its PCI
    address and its adapter, and there are no byte and drop counts.
    """

    domain: str
    mac: str
    device: str
    source: str
    vlan: Optional[int]
    is_up: bool
    has_carrier: bool
    received_bytes: Optional[int]
    sent_bytes: Optional[int]
    filter: FilterState
    drops: Tuple[DropCount, ...]


@dataclass(frozen=True)
class NetworkFacts:
    """All interfaces of all running domains."""

    interfaces: Tuple[InterfaceFact, ...]


@dataclass(frozen=True)
class NetworkRequest(Request[NetworkFacts]):
    """Read how the guests of a host are connected."""


@dataclass(frozen=True)
class LinkPlan:
    """The network devices that a machine needs on its host."""

    name: str
    links: Tuple[LinkSpec, ...]


@dataclass(frozen=True)
class LinkOutcome:
    """The result for a network device; `error` where it failed."""

    device: str
    result: LinkResult
    error: Optional[AgentError] = None


@dataclass(frozen=True)
class SyncLinksReply:
    """One outcome for each planned device, and for each other device of this system."""

    outcomes: Tuple[LinkOutcome, ...]


@dataclass(frozen=True)
class SyncLinksRequest(Request[SyncLinksReply]):
    """Make these devices and remove the others of this system, now and after a reboot.

    The plans of the machines `retained` stay as the host recorded them: they run there, though placed elsewhere by now.
    """

    plans: Tuple[LinkPlan, ...]
    retained: Tuple[str, ...] = ()
