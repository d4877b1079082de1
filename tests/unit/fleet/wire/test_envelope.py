"""Requests and replies as lines; another version and garbage are distinguished from replies."""

import json
from typing import Any, get_args

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import rocks
from rocks.core.errors import BugError, Code, IncoherentError, RocksError, StateError
from rocks.fleet.wire.calls import (
    MAXIMUM_LINE_BYTES,
    VersionError,
    printable_bytes,
    read_reply,
    read_request,
    reply_deadline_seconds,
    write_error,
    write_reply,
    write_request,
)
from rocks.fleet.wire.codec import Request
from rocks.fleet.wire.errors import AgentError, as_agent_error, as_exception
from rocks.fleet.wire.facts import ConsoleFact, ConsoleRequest, ProbeRequest
from rocks.fleet.wire.requests import Operation, PerformReply, PerformRequest, StopDomain

ASK = ConsoleRequest("vm-a-0")


def changed(line: bytes, **fields: Any) -> bytes:
    """The line with other fields in its envelope; None removes a field."""
    envelope = {**json.loads(line), **fields}
    return json.dumps({name: value for name, value in envelope.items() if value is not None}).encode()


def test_a_request_is_one_line_and_survives() -> None:
    """Also when its text contains line ends."""
    request = ConsoleRequest("a\nb\u2028\0")
    line = write_request(request)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert read_request(line) == request


def test_a_reply_survives() -> None:
    """It has the type of the table."""
    fact = ConsoleFact(None, "/vnc.sock")
    assert read_reply(write_reply(fact), ASK) == fact


@pytest.mark.parametrize("family", ["user", "state", "busy", "host", "tool", "incoherent", "bug"])
def test_an_error_is_received_as_its_class(family: str) -> None:
    """The exit status is that of the original error."""
    error = read_reply(write_error(AgentError(family, "no, because")), ASK)
    assert isinstance(error, Exception)
    assert (error.family, str(error)) == (family, "no, because")


@pytest.mark.parametrize("code", [None, *Code])
def test_an_error_keeps_its_code(code: Code | None) -> None:
    """Programs decide by the code on the other side of the wire."""
    error = read_reply(write_error(as_agent_error(StateError("no", code=code))), ASK)
    assert isinstance(error, RocksError)
    assert (error.family, str(error), error.code) == ("state", "no", code)


def test_an_unknown_code_is_dropped() -> None:
    error = as_exception(AgentError("state", "no", "cosmic"))
    assert isinstance(error, StateError) and error.code is None


def test_an_unknown_family_keeps_its_message() -> None:
    error = read_reply(write_error(AgentError("cosmic", "rays")), ASK)
    assert isinstance(error, IncoherentError) and "rays" in str(error)


def test_another_version_is_detected_first() -> None:
    """Even when the rest is unknown."""
    line = changed(write_reply(ConsoleFact(None, None)), version="0.0.9", result={"new": 1}, ok=None)
    with pytest.raises(VersionError) as raised:
        read_reply(line, ASK)
    assert raised.value.theirs == "0.0.9"
    with pytest.raises(StateError, match=f"version {rocks.__version__}, the frontend is version 9.9"):
        read_request(changed(write_request(ASK), version="9.9"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", "is not JSON: ''"),
        (b"Welcome to host\x1b[2J\xff!", r"is not JSON: 'Welcome to host\\x1b\[2J\\xff!'"),
        (b"[1]", "not a JSON object"),
        (b"[" * 100000, "is not JSON"),
        (b"{}", "field reply.version: missing"),
        (changed(write_error(AgentError("user", "x")), error=None), "field reply.error: missing"),
        (changed(write_error(AgentError("user", "x")), more=1), "field reply.more: unknown"),
        (changed(write_reply(ConsoleFact(None, None)), ok="yes"), "field reply.ok"),
        (changed(write_reply(ConsoleFact(None, None)), ok=None), "field reply.ok: missing"),
        (write_reply(PerformReply(())), "field reply.result.outcomes: unknown here"),
        (b" " * (MAXIMUM_LINE_BYTES + 1), "longer than"),
    ],
)
def test_garbage_raises_an_error(line: bytes, message: str) -> None:
    """The quotation is safe for a terminal."""
    with pytest.raises(IncoherentError, match=message):
        read_reply(line, ASK)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (changed(write_request(ASK), call="format_disks"), "expected one of facts, perform, console, "),
        (changed(write_request(ASK), call=7), "field request.call"),
        (changed(write_request(ASK), call=None), "field request.call: missing"),
        (changed(write_request(ASK), extra=1), "field request.extra: unknown"),
        (changed(write_request(ASK), arguments=[]), "field request.arguments: expected an object"),
    ],
)
def test_an_invalid_request_raises_an_error(line: bytes, message: str) -> None:
    """It names the invalid field."""
    with pytest.raises(IncoherentError, match=message):
        read_request(line)


def test_a_request_outside_the_table_is_a_bug() -> None:
    """There is one table of calls."""

    class Strange(Request[int]):
        pass

    with pytest.raises(BugError, match="Strange"):
        write_request(Strange())


def test_deadlines_include_the_waiting_of_operations() -> None:
    """A guest with ten minutes to shut down must not time out after two."""
    patient = PerformRequest((StopDomain("a", action="shutdown", deadline_seconds=600),))
    assert reply_deadline_seconds(patient) > 600
    assert reply_deadline_seconds(PerformRequest(())) < 600
    assert reply_deadline_seconds(ProbeRequest()) > 8


def test_printable_bytes_are_short_and_plain() -> None:
    """Printable ASCII only."""
    assert printable_bytes(bytes(range(256)), 300).isprintable()
    assert len(printable_bytes(b"x" * 1000)) < 70


@pytest.mark.parametrize("operation", get_args(Operation))
@settings(max_examples=3, phases=[Phase.generate])
@given(data=st.data())
def test_each_operation_has_a_deadline(operation: type[Operation], data: st.DataObject) -> None:
    """None waits for as long as another, unnamed, does: one that the table does not know is a BugError."""
    reply_deadline_seconds(PerformRequest((data.draw(st.from_type(operation)),)))
