"""What the frontend can ask of the agent on a physical host: the deeds, and the one table of calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Literal, NamedTuple, Optional, Tuple, Type, Union

from rocks.errors import BugError
from rocks.wire.codec import tagged
from rocks.wire.errors import AgentError
from rocks.wire.facts import (
    AdapterFacts,
    AdaptersRequest,
    ConsoleFact,
    ConsoleRequest,
    FactsRequest,
    HostFacts,
    ProbeFact,
    ProbeRequest,
)
from rocks.wire.infiniband import InfinibandFacts, InfinibandRequest, PartitionSpec
from rocks.wire.links import LinkKind, LinkSpec
from rocks.wire.network import NetworkFacts, NetworkRequest, SyncLinksReply, SyncLinksRequest
from rocks.wire.request import Request

__all__ = ["AgentError", "LinkKind", "LinkSpec"]

DiskFormat = Literal["raw", "qcow2"]
StopAction = Literal["poweroff", "shutdown", "reset", "reboot"]
AssumedState = Literal["running", "blocked", "paused", "shutdown", "shutoff", "crashed", "absent"]


@dataclass(frozen=True)
class DiskSpec:
    """A disk that must be there: an image, made when absent and never over an existing one, or a device."""

    path: str
    format: DiskFormat
    size_gb: int
    is_block: bool


@dataclass(frozen=True)
class VfSpec:
    """Virtual function `number`, from 0, of the network adapter `device`, as a guest is to find it.

    `count` functions are made where there are none yet. `vlan` 0 leaves frames untagged. With `checks_source` the
    adapter drops frames with another source than `mac`; a trusted guest may ask it for more than its own frames.
    """

    device: str
    count: int
    number: int
    mac: str
    vlan: int = 0
    checks_source: bool = True
    is_trusted: bool = False


@tagged
@dataclass(frozen=True)
class StartDomain:
    """Bring the domain to running with this XML under this lease, its disks, links and functions first.

    The XML has an interface of type `hostdev` for the MAC address of each function; the host puts the function's
    PCI address in.

    `assumed_state` is what the facts said (`absent`: no such domain); the deed is refused when it is
    another now. None assumes nothing. `partition` is for the domain's InfiniBand function, if it has one.
    """

    name: str
    token: int
    xml: str
    disks: Tuple[DiskSpec, ...] = ()
    links: Tuple[LinkSpec, ...] = ()
    autostart: bool = False
    assumed_state: Optional[AssumedState] = None
    partition: Optional[PartitionSpec] = None
    functions: Tuple[VfSpec, ...] = ()


@tagged
@dataclass(frozen=True)
class StopDomain:
    """Stop the domain and undefine it (`poweroff`, `shutdown`), or restart it in place (`reset`, `reboot`).

    `shutdown` waits `deadline_seconds` for the guest, then takes the power away. `links` go when nothing
    uses them any more.
    """

    name: str
    token: Optional[int] = None
    action: StopAction = "poweroff"
    deadline_seconds: int = 60
    links: Tuple[LinkSpec, ...] = ()


@tagged
@dataclass(frozen=True)
class PauseDomain:
    """Halt the guest where it stands."""

    name: str
    token: Optional[int] = None


@tagged
@dataclass(frozen=True)
class ResumeDomain:
    """Let a paused guest go on."""

    name: str
    token: Optional[int] = None


@tagged
@dataclass(frozen=True)
class ForgetDomain:
    """Leave nothing of the domain but its disks: no power, definition, firmware variables, managed save."""

    name: str
    token: Optional[int] = None


Operation = Union[StartDomain, StopDomain, PauseDomain, ResumeDomain, ForgetDomain]


@dataclass(frozen=True)
class OperationOutcome:
    """How one deed ended. `changed` is False when all was as wanted before; `notes` are for the person."""

    name: str
    changed: bool
    notes: Tuple[str, ...] = ()
    error: Optional[AgentError] = None


@dataclass(frozen=True)
class PerformReply:
    """One outcome for each deed, in the order of the deeds."""

    outcomes: Tuple[OperationOutcome, ...]


@dataclass(frozen=True)
class PerformRequest(Request[PerformReply]):
    """Do these deeds: those of one name in order, and no failed one stops those of other names."""

    operations: Tuple[Operation, ...]


class Call(NamedTuple):
    """A row of the table: the call's name on the wire, its shapes, and how long its reply may take."""

    name: str
    request: Type[Request[Any]]
    reply: type
    deadline_seconds: float


CALLS: Dict[str, Call] = {
    call.name: call
    for call in (
        Call("facts", FactsRequest, HostFacts, 30.0),
        Call("perform", PerformRequest, PerformReply, 120.0),
        Call("console", ConsoleRequest, ConsoleFact, 15.0),
        Call("probe", ProbeRequest, ProbeFact, 60.0),
        Call("infiniband", InfinibandRequest, InfinibandFacts, 30.0),
        Call("adapters", AdaptersRequest, AdapterFacts, 60.0),
        Call("network", NetworkRequest, NetworkFacts, 15.0),
        Call("sync_links", SyncLinksRequest, SyncLinksReply, 60.0),
    )
}
"""Every question a host can be asked."""

_BY_REQUEST = {call.request: call for call in CALLS.values()}


def call_of(request: Request[Any]) -> Call:
    """The row of a request. BugError for a request that is in no row."""
    call = _BY_REQUEST.get(type(request))
    if call is None:
        raise BugError(f"{type(request).__name__} is in no row of the table of agent calls")
    return call


def reply_deadline_seconds(request: Request[Any]) -> float:
    """How long to wait for this request's reply: its row's deadline, and what its own deeds wait for."""
    deadline_seconds = call_of(request).deadline_seconds
    if isinstance(request, PerformRequest):
        deadline_seconds += sum(_waiting_seconds(operation) for operation in request.operations)
    return deadline_seconds


def _waiting_seconds(operation: Operation) -> float:
    if isinstance(operation, StopDomain) and operation.action == "shutdown":
        return operation.deadline_seconds
    if isinstance(operation, StartDomain):
        return 5.0 if operation.partition is None else 20.0
    return 1.0
