"""One JSON object a line: the envelope of requests and replies, and the version handshake.

Request: `{"version", "call", "arguments"}`. Reply: `{"version", "ok": true, "result"}`, or
`{"version", "ok": false, "error": {"family", "message", "code"}}`. `version` and
`ok` never change between versions, so that two different versions can still recognise each other.
"""

from __future__ import annotations

import json
from typing import Any, Dict, Union

import rocks
from rocks.core.errors import IncoherentError, RocksError, StateError
from rocks.core.terminal import one_line
from rocks.fleet.wire.calls import CALLS, Call, call_of
from rocks.fleet.wire.codec import Reply, Request, decode, encode
from rocks.fleet.wire.errors import AgentError, as_exception
from rocks.fleet.wire.received import check_reply, parse_json

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
