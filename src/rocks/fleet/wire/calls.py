"""The table of calls: every request of the frontend that the agent on a physical host answers, and for how long."""

from __future__ import annotations

import json
from typing import Any, Dict, NamedTuple, Type, Union

import rocks
from rocks.core.errors import BugError, IncoherentError, RocksError, StateError
from rocks.core.terminal import one_line
from rocks.core.values import BYTES_PER_GB
from rocks.fleet.wire.codec import Reply, Request, decode, encode
from rocks.fleet.wire.errors import AgentError, as_exception
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
from rocks.fleet.wire.received import check_reply, parse_json
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


# One JSON object a line: the envelope of requests and replies, and the version handshake.
#
# Request: `{"version", "call", "arguments"}`. Reply: `{"version", "ok": true, "result"}`, or
# `{"version", "ok": false, "error": {"family", "message", "code"}}`. `version` and
# `ok` never change between versions, so that two different versions can still recognise each other.


MAXIMUM_LINE_BYTES = 16 * 1024 * 1024
"""Longest request or reply that each side reads."""

RECEIPT = b"\n"
"""What a serving agent writes when it has received a request, before it acts."""

AGENT_FOLDER = "/opt/rocks"
AGENT_PROGRAM = "/opt/rocks/libexec/rocks-agent"


class VersionError(StateError):
    """The other side has another version: `theirs`."""

    def __init__(self, theirs: str, message: str) -> None:
        super().__init__(message)
        self.theirs = theirs


def agent_archive_name() -> str:
    """File name of the archive that `make agent` builds."""
    return f"rocks-agent-{rocks.__version__}.tar.gz"


def write_request(request: Request[Any]) -> bytes:
    """A request as a line."""
    return _line({"version": rocks.__version__, "call": call_of(request).name, "arguments": encode(request)})


def read_request(line: bytes) -> Request[Any]:
    """The request on a line.

    StateError for another version, IncoherentError for an invalid or unknown request.
    """
    envelope = _object(line, "request")
    theirs = envelope.get("version")
    if theirs != rocks.__version__:
        raise StateError(
            f"the agent on this host is version {rocks.__version__}, "
            f"the frontend is version {str(theirs)[:40]}"
        )
    _only_keys(envelope, ("version", "call", "arguments"), "request")
    call = envelope["call"]
    if not isinstance(call, str) or call not in CALLS:
        raise IncoherentError(
            f"field request.call: expected one of {', '.join(CALLS)}, got {str(call)[:80]!r}"
        )
    return decode(CALLS[call].request, envelope["arguments"], "request.arguments")


def write_reply(reply: Any) -> bytes:
    """A reply as a line."""
    return _line({"version": rocks.__version__, "ok": True, "result": encode(reply)})


def write_error(error: AgentError) -> bytes:
    """An error reply, as a line."""
    return _line({"version": rocks.__version__, "ok": False, "error": encode(error)})


def read_reply(line: bytes, request: Request[Reply]) -> Union[Reply, RocksError]:
    """The reply to `request` on a line, or the error that the agent reports, not raised.

    Raises VersionError for another version, IncoherentError for an invalid reply.
    """
    envelope = _object(line, "reply")
    theirs = envelope.get("version")
    if not isinstance(theirs, str):
        raise IncoherentError("field reply.version: missing or not a text")
    if theirs != rocks.__version__:
        quoted = one_line(theirs[:40])
        raise VersionError(quoted, f"agent {quoted}, frontend {rocks.__version__}")
    if envelope.get("ok") is False:
        _only_keys(envelope, ("version", "ok", "error"), "reply")
        return as_exception(decode(AgentError, envelope["error"], "reply.error"))
    _only_keys(envelope, ("version", "ok", "result"), "reply")
    if envelope["ok"] is not True:
        raise IncoherentError("field reply.ok: expected true or false")
    call: Call = call_of(request)
    reply: Reply = decode(call.reply, envelope["result"], "reply.result")
    check_reply(request, reply)
    return reply


def _line(envelope: Dict[str, Any]) -> bytes:
    return json.dumps(envelope, separators=(",", ":")).encode("ascii") + b"\n"


def _object(line: bytes, what: str) -> Dict[str, Any]:
    if len(line) > MAXIMUM_LINE_BYTES:
        raise IncoherentError(f"the {what} is longer than {MAXIMUM_LINE_BYTES} bytes")
    try:
        value = parse_json(line.decode("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise IncoherentError(f"the {what} is not JSON: {printable_bytes(line)}") from None
    except ValueError as error:
        raise IncoherentError(
            f"the {what} is not JSON of our kind ({error}): {printable_bytes(line)}"
        ) from None
    if not isinstance(value, dict):
        raise IncoherentError(f"the {what} is not a JSON object: {printable_bytes(line)}")
    return value


def _only_keys(envelope: Dict[str, Any], keys: tuple[str, ...], what: str) -> None:
    for name in keys:
        if name not in envelope:
            raise IncoherentError(f"field {what}.{name}: missing")
    for name in envelope:
        if name not in keys:
            raise IncoherentError(f"field {what}.{one_line(name[:40])}: unknown here")


def printable_bytes(data: bytes, max_bytes: int = 60) -> str:
    """The first bytes of foreign data, safe for a terminal: all but printable ASCII is escaped."""
    text = "".join(chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in data[:max_bytes])
    return f"'{text}'" + (" ..." if len(data) > max_bytes else "")
