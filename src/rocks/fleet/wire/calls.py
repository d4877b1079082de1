"""The table of calls: every request of the frontend that the agent on a physical host answers, and for how long."""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Type

from rocks.core.errors import BugError
from rocks.core.values import BYTES_PER_GB
from rocks.fleet.wire.codec import Request
from rocks.fleet.wire.facts import (
    AdapterFacts,
    AdaptersRequest,
    ConsoleFact,
    ConsoleRequest,
    DocumentsFact,
    DocumentsRequest,
    FactsRequest,
    HostFacts,
    ProbeFact,
    ProbeRequest,
)
from rocks.fleet.wire.requests import (
    RELEASE_SECONDS,
    ChangeDomain,
    ConsoleLogFact,
    ConsoleLogRequest,
    EndArrival,
    EndDeparture,
    ForgetMachinesRequest,
    FreezeGuest,
    GiveImageRequest,
    GrowDisk,
    ImageChange,
    ImageFacts,
    ImagesRequest,
    InfinibandFacts,
    InfinibandRequest,
    MakeSnapshot,
    NetworkFacts,
    NetworkRequest,
    Operation,
    PauseDomain,
    PerformReply,
    PerformRequest,
    RemovedFiles,
    RemoveImageRequest,
    RestoreSnapshot,
    ResumeDomain,
    SaveDomain,
    ScreenFact,
    ScreenRequest,
    StartDomain,
    StopDomain,
    SyncLinksReply,
    SyncLinksRequest,
    ThawGuest,
)


class Call(NamedTuple):
    """A row of the table: the call's name on the wire, the types of request and reply, and the reply's deadline."""

    name: str
    request: Type[Request[Any]]
    reply: type
    deadline_seconds: float


_SLOW_COPY_BYTES_PER_SECOND = 10_000_000
"""A disk that is made from an image is copied at least this fast."""

CALLS: Dict[str, Call] = {
    call.name: call
    for call in (
        Call("facts", FactsRequest, HostFacts, 30.0),
        Call("perform", PerformRequest, PerformReply, 120.0),
        Call("console", ConsoleRequest, ConsoleFact, 15.0),
        Call("screen", ScreenRequest, ScreenFact, 30.0),
        Call("console_log", ConsoleLogRequest, ConsoleLogFact, 15.0),
        Call("forget_machines", ForgetMachinesRequest, RemovedFiles, 30.0),
        Call("probe", ProbeRequest, ProbeFact, 60.0),
        Call("documents", DocumentsRequest, DocumentsFact, 60.0),
        Call("infiniband", InfinibandRequest, InfinibandFacts, 30.0),
        Call("adapters", AdaptersRequest, AdapterFacts, 60.0),
        Call("network", NetworkRequest, NetworkFacts, 15.0),
        Call("sync_links", SyncLinksRequest, SyncLinksReply, 60.0),
        Call("images", ImagesRequest, ImageFacts, 60.0),
        Call("give_image", GiveImageRequest, ImageChange, 60.0),
        Call("remove_image", RemoveImageRequest, ImageChange, 3600.0),
    )
}
"""Every request that an agent answers, by its name on the wire."""

_BY_REQUEST = {call.request: call for call in CALLS.values()}


def call_of(request: Request[Any]) -> Call:
    """The row of a request. BugError for a request outside the table."""
    call = _BY_REQUEST.get(type(request))
    if call is None:
        raise BugError(f"{type(request).__name__} is not in the table of agent calls; please report this")
    return call


def reply_deadline_seconds(request: Request[Any]) -> float:
    """How long to wait for the reply: the deadline of the call, and the waiting time of its operations."""
    deadline_seconds = call_of(request).deadline_seconds
    if isinstance(request, PerformRequest):
        deadline_seconds += sum(_waiting_seconds(operation) for operation in request.operations)
    return deadline_seconds


def _waiting_seconds(operation: Operation) -> float:
    if isinstance(operation, StopDomain):
        return operation.deadline_seconds if operation.action == "shutdown" else 1.0
    if isinstance(operation, (MakeSnapshot, RestoreSnapshot)):
        size_bytes = sum(disk.size_gb for disk in operation.disks) * BYTES_PER_GB
        # a guest agent that hangs: freeze and thaw
        agent_seconds = 60.0 if isinstance(operation, MakeSnapshot) else 0.0
        return 60.0 + agent_seconds + size_bytes / _SLOW_COPY_BYTES_PER_SECOND
    if isinstance(operation, (FreezeGuest, ThawGuest)):
        return 60.0  # a guest agent that hangs
    if isinstance(operation, SaveDomain):
        return 60.0 + operation.memory_mb * 1024 * 1024 / _SLOW_COPY_BYTES_PER_SECOND
    if isinstance(operation, EndArrival):
        return 40.0
    if isinstance(operation, ChangeDomain):
        return RELEASE_SECONDS * (len(operation.detached) + operation.interfaces) + 10.0
    if isinstance(operation, StartDomain):
        copied_bytes = sum(disk.base.used_bytes for disk in operation.disks if disk.base is not None)
        return (5.0 if operation.partition is None else 20.0) + copied_bytes / _SLOW_COPY_BYTES_PER_SECOND
    if isinstance(operation, (PauseDomain, ResumeDomain, GrowDisk, EndDeparture)):
        return 1.0
    raise BugError(
        f"{type(operation).__name__} has no deadline in the table of agent calls; please report this"
    )
