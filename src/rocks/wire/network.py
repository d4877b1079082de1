"""What is asked of a host's network: how guests are connected, and which devices it is to have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Optional, Tuple

from rocks.wire.errors import AgentError
from rocks.wire.links import LinkSpec
from rocks.wire.request import Request

FilterState = Literal["on", "off", "missing", "adapter"]
"""`missing`: the domain's document wants a filter, and its device has none. `adapter`: it checks the source address."""

LinkResult = Literal["made", "kept", "removed", "used", "failed"]
"""`used`: one that no machine is planned to need, but that something hangs on."""


@dataclass(frozen=True)
class DropCount:
    """Frames that a guest sent and that its host dropped, for this reason."""

    reason: str
    frames: int


@dataclass(frozen=True)
class InterfaceFact:
    """An interface of a running domain, by its MAC address; bytes as the guest sees them.

    `device` is the host's side of it, `source` what that hangs on. Of a virtual function these are its PCI address and
    its adapter, and nobody counts its bytes and drops.
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
    """Ask how the guests of a host are connected."""


@dataclass(frozen=True)
class LinkPlan:
    """The network devices that a machine needs on its host."""

    name: str
    links: Tuple[LinkSpec, ...]


@dataclass(frozen=True)
class LinkOutcome:
    """What became of a network device; `error` where it failed."""

    device: str
    result: LinkResult
    error: Optional[AgentError] = None


@dataclass(frozen=True)
class SyncLinksReply:
    """One outcome for each device that is wanted, and for each of ours that is not."""

    outcomes: Tuple[LinkOutcome, ...]


@dataclass(frozen=True)
class SyncLinksRequest(Request[SyncLinksReply]):
    """Have these devices and no other of ours, now and after a reboot.

    The plans of the machines `kept` stay as the host has them: they run there, though placed elsewhere by now.
    """

    plans: Tuple[LinkPlan, ...]
    kept: Tuple[str, ...] = ()
