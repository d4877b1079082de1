"""One host during one command: the handshake, and invalid replies."""

import json
from collections.abc import Callable

import pytest

import rocks
from rocks.core.clock import Deadline
from rocks.core.errors import HostError, RocksError, StateError, UserError
from rocks.fleet.agent_line import AgentLine, AnsweringError
from rocks.fleet.connection import CommandOutput, FleetSettings, HostAddress
from rocks.fleet.session import Session
from rocks.fleet.wire.calls import MAXIMUM_LINE_BYTES, write_error, write_reply
from rocks.fleet.wire.errors import AgentError
from rocks.fleet.wire.facts import ConsoleFact, ConsoleRequest

FACT = ConsoleFact("/var/log/vm.log")
GOOD = write_reply(FACT)


class Scripted:
    """An agent that sends these pieces, then ends with this status."""

    def __init__(self, pieces: list[bytes], status: int | None = 0, error_output: bytes = b"") -> None:
        self.pieces, self.status, self.error_output, self.closed = list(pieces), status, error_output, False

    def send(self, data: bytes, deadline: Deadline) -> None:
        if self.closed:
            raise BrokenPipeError("broken pipe")

    def receive(self, deadline: Deadline) -> bytes:
        if self.pieces and self.pieces[0] == b"hang":
            raise TimeoutError
        return self.pieces.pop(0) if self.pieces else b""

    def exit_information(self) -> tuple[int | None, bytes]:
        return self.status, self.error_output

    def close(self) -> None:
        self.closed = True


class ScriptedConnection:
    """Opens these agents, one after the other."""

    def __init__(self, *streams: Scripted) -> None:
        self.streams = list(streams)

    def open_agent(self) -> AgentLine:
        return AgentLine("c-0-0", self.streams.pop(0))

    def run(self, command: str, timeout_seconds: float | None, standard_input: bytes = b"") -> CommandOutput:
        raise AssertionError(command)

    def close(self) -> None:
        pass


def session(*streams: Scripted, is_local: bool = False) -> Session:
    """A session with scripted agents."""
    address = HostAddress("c-0-0", "10.1.1.1", 2222, is_local)
    return Session(address, FleetSettings(), lambda: ScriptedConnection(*streams))


def error_of(work: Callable[[], object]) -> RocksError:
    """The error that the call raises."""
    with pytest.raises(RocksError) as raised:
        work()
    return raised.value


def test_an_agent_answers_many_requests() -> None:
    """Over one connection, however its bytes are cut."""
    spoken = session(Scripted([GOOD[:5], GOOD[5:], GOOD[:7], GOOD[7:]]))
    assert [spoken.ask(ConsoleRequest("a")) for _ in range(2)] == [FACT, FACT]


def test_a_second_reply_to_one_request_answers_no_other() -> None:
    """The connection is given up; the next request has a new one."""
    spoken = session(Scripted([GOOD + GOOD]), Scripted([GOOD]))
    assert spoken.ask(ConsoleRequest("a")) == FACT
    error = error_of(lambda: spoken.ask(ConsoleRequest("b")))
    assert isinstance(error, AnsweringError) and "sent more than was asked, beginning with" in str(error)
    assert spoken.ask(ConsoleRequest("c")) == FACT


def test_a_slow_reply_ends_at_the_deadline() -> None:
    """A byte at a time does not extend it: the deadline is that of the whole reply."""
    seen: list[float | None] = []

    class Dripping(Scripted):
        def receive(self, deadline: Deadline) -> bytes:
            seen.append(deadline.remaining_seconds())
            if len(seen) == 50:
                raise TimeoutError
            return b"x"

    spoken = session(Dripping([]))
    assert "did not answer within 15 s" in str(error_of(lambda: spoken.ask(ConsoleRequest("a"))))
    assert None not in seen and sorted(seen, reverse=True) == seen  # type: ignore[type-var]


def test_the_agents_own_error_is_raised_and_the_connection_stays() -> None:
    """An error of a request does not affect the connection."""
    spoken = session(Scripted([write_error(AgentError("host", "libvirt is down")), GOOD]))
    error = error_of(lambda: spoken.ask(ConsoleRequest("a")))
    assert isinstance(error, AnsweringError) and str(error) == "host c-0-0: libvirt is down"
    assert spoken.ask(ConsoleRequest("a")) == FACT


def test_another_version_raises_an_error_with_the_command_for_the_upgrade() -> None:
    """Both versions and a command line to paste, for a host by SSH and for this machine."""
    old = json.dumps({"version": "0.0.9", "ok": False, "error": 1}).encode() + b"\n"
    error = error_of(lambda: session(Scripted([old])).ask(ConsoleRequest("a")))
    assert isinstance(error, StateError)
    assert f"is version 0.0.9, this system is version {rocks.__version__}" in str(error)
    assert (
        "`ssh -p 2222 root@10.1.1.1 'mkdir -p /opt/rocks && tar -xzf - -C /opt/rocks' "
        f"< dist/rocks-agent-{rocks.__version__}.tar.gz`" in str(error)
    )
    here = error_of(lambda: session(Scripted([old]), is_local=True).ask(ConsoleRequest("a")))
    assert "`mkdir -p /opt/rocks && tar -xzf - -C /opt/rocks < dist/" in str(here)


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (Scripted([b"Welcome\x1b[2J!\n"]), r"sent invalid data: the reply is not JSON: 'Welcome\x1b[2J!'"),
        (Scripted([GOOD.replace(b"log_path", b"log")]), "field reply.result.log: unknown here"),
        (Scripted([b"half a li"], 0), "ended with exit status 0 without an answer: 'half a li'"),
        (Scripted([], 1, b"Traceback\n  x\nKeyError: 1\n"), "status 1 without an answer: 'KeyError: 1'"),
        (Scripted([], None), "the agent on host c-0-0 ended without an answer"),
        (Scripted([], 127, b"bash: no such file"), "does not start: 'bash: no such file': `make"),
        (Scripted([b"hang"]), "did not answer within 15 s; the request may still be in progress there"),
        (Scripted([b"x" * (MAXIMUM_LINE_BYTES + 1)]), "without a line end, beginning with 'xxx"),
    ],
)
def test_invalid_replies(stream: Scripted, message: str) -> None:
    """HostError with a safe quotation; the connection is closed, and the next request opens another."""
    spoken = session(stream, Scripted([GOOD]))
    error = error_of(lambda: spoken.ask(ConsoleRequest("a")))
    assert isinstance(error, HostError)
    assert message in str(error)
    assert stream.closed
    assert spoken.ask(ConsoleRequest("a")) == FACT


@pytest.mark.parametrize(
    ("stream", "answers"),
    [
        (Scripted([b"Welcome!\n"]), True),
        (Scripted([], 127, b"bash: no such file"), True),
        (Scripted([], 1, b"KeyError: 1"), True),
        (Scripted([], 255, b"Connection to 10.1.1.1 closed by remote host."), False),
        (Scripted([], None), False),
        (Scripted([b"hang"]), False),
        (Scripted([b"x" * (MAXIMUM_LINE_BYTES + 1)]), True),
    ],
)
def test_a_host_without_a_working_agent_is_on(stream: Scripted, answers: bool) -> None:
    """By force no machine is taken from it."""
    error = error_of(lambda: session(stream).ask(ConsoleRequest("a")))
    assert isinstance(error, AnsweringError) == answers


def test_an_error_of_warming_up_is_raised_once() -> None:
    """The next request tries again."""
    tries = []

    def connect() -> ScriptedConnection:
        tries.append(1)
        if len(tries) == 1:
            raise UserError("not today")
        return ScriptedConnection(Scripted([GOOD]))

    spoken = Session(HostAddress("c-0-0", "10.1.1.1"), FleetSettings(), connect)
    spoken.warm_up()
    assert str(error_of(lambda: spoken.ask(ConsoleRequest("a")))) == "not today"
    assert spoken.ask(ConsoleRequest("a")) == FACT


def test_the_first_request_uses_the_agent_of_warming_up() -> None:
    """No second agent is started."""
    connection = ScriptedConnection(Scripted([GOOD]))
    spoken = Session(HostAddress("c-0-0", "10.1.1.1"), FleetSettings(), lambda: connection)
    spoken.warm_up()
    assert connection.streams == []
    assert spoken.ask(ConsoleRequest("a")) == FACT


def test_what_is_opened_while_another_thread_closes_the_session_is_closed() -> None:
    """A host was slower than its command waited; the request is not sent any more."""
    stream = Scripted([GOOD])
    closed: list[int] = []

    class Slow(ScriptedConnection):
        def open_agent(self) -> AgentLine:
            spoken.close()
            return super().open_agent()

        def close(self) -> None:
            closed.append(len(self.streams))

    connection = Slow(stream)
    spoken = Session(HostAddress("c-0-0", "10.1.1.1"), FleetSettings(), lambda: connection)
    error = error_of(lambda: spoken.ask(ConsoleRequest("a")))
    assert str(error) == "host c-0-0 was ready only after its command had ended" and error.nothing_done
    assert stream.closed and stream.pieces == [GOOD] and closed == [1, 0]


def test_an_agent_confirms_a_request_before_it_replies() -> None:
    """Without that it is waited for 30 s only, whatever the request may take; afterwards its own deadline counts."""
    request = b"x\n"
    assert AgentLine("c-0-0", Scripted([b"\n", GOOD])).ask(request, 90.0) == GOOD.rstrip(b"\n")
    with pytest.raises(HostError, match="did not answer within 30 s"):
        AgentLine("c-0-0", Scripted([b"hang"])).ask(request, 90.0)
    with pytest.raises(HostError, match="did not answer within 90 s"):
        AgentLine("c-0-0", Scripted([b"\n", b"hang"])).ask(request, 90.0)


@pytest.mark.parametrize(("pieces", "nothing_done"), [([], True), ([b"\n"], False)])
def test_an_agent_that_ends_after_its_receipt_may_have_acted(pieces: list[bytes], nothing_done: bool) -> None:
    """Exit status 127 is that of a missing program, unless the program has confirmed the request."""
    asked = session(Scripted(pieces, 127))
    assert error_of(lambda: asked.ask(ConsoleRequest("web"))).nothing_done is nothing_done
