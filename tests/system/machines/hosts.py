"""Hosts in this process: the real agent on devices in memory and on the test's files, behind the real sessions.

The devices are the fakes of the rooms; the contract tests run the same cases on them and on the real devices. A
request takes the same path as on a real site, without SSH: `Fleet`, `Session`, the wire, and the agent's handlers.
"""

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rocks.agent.calls import reply_to
from rocks.core.clock import Deadline
from rocks.core.errors import HostError, RocksError
from rocks.fleet.agent_line import AgentLine
from rocks.fleet.connection import CommandOutput, DownError
from rocks.fleet.host.change import Change
from rocks.fleet.wire.requests import BaseImage, LinkSpec
from rocks.machine.host import images
from rocks.machine.host import move as disk_moves
from rocks.machine.host.disks import receive_base
from rocks.machine.host.host import Host
from tests.fakes.libvirt import FakeDomains
from tests.fakes.links import FakeLinks
from tests.fakes.packet_filters import FakeFilters
from tests.fakes.virtual_functions import FakeVfs


class DiedError(BaseException):
    """The process ends here, as if by SIGKILL. Not an Exception, so that no handler of the program catches it."""


class EffectCounter:
    """Counts the effects of a process. The process dies before the effect that follows `limit` effects; None: never."""

    def __init__(self) -> None:
        self.count = 0
        self.limit: int | None = None
        self.is_dead = False

    def count_one(self) -> None:
        """Called before each effect. DiedError when the process dies here, or has died."""
        if self.is_dead or (self.limit is not None and self.count >= self.limit):
            self.is_dead = True
            raise DiedError
        self.count += 1

    def restart(self, limit: int | None = None) -> None:
        self.count, self.limit, self.is_dead = 0, limit, False


class CountedDomains(FakeDomains):
    def __init__(self, effects: EffectCounter) -> None:
        super().__init__()
        self.effects = effects
        self.calls: list[str] = []
        """The changes that were requested from libvirt."""

    @contextmanager
    def _step(self, step: str) -> Iterator[None]:
        self.effects.count_one()
        with super()._step(step):
            self.calls.append(step)
            yield


class CountedLinks(FakeLinks):
    def __init__(self, effects: EffectCounter) -> None:
        super().__init__()
        self.effects = effects

    def ensure(self, spec: LinkSpec) -> Change:
        """As `FakeLinks.ensure`."""
        self.effects.count_one()
        return super().ensure(spec)

    def remove_if_unused(self, spec: LinkSpec) -> Change:
        """As `FakeLinks.remove_if_unused`."""
        self.effects.count_one()
        return super().remove_if_unused(spec)


class FakeHost:
    """A host. Its devices outlive its agents; `effects` counts the agent's effects."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.images = folder / "images"
        self.images.mkdir(parents=True)
        self.state = folder / "state"
        self.effects = EffectCounter()
        self.domains = CountedDomains(self.effects)
        self.links = CountedLinks(self.effects)
        self.filters = FakeFilters()
        self.vfs = FakeVfs()
        self.is_silent = self.has_died = False
        self.agent_error = ""
        """The error with which opening libvirt fails; '' for none."""
        self.commands: list[str] = []
        """The command lines that were run on this host."""
        self.inputs: list[bytes] = []
        """The standard input of each of them."""
        self.outputs: dict[str, bytes] = {}
        """Command line → what it prints."""
        self.failures: dict[str, tuple[int, bytes]] = {}
        """Command line → exit status, and what it prints on standard error."""

    def agent(self) -> Host:
        """A new agent; it replaces one that has died."""
        if self.effects.is_dead:
            self.effects.restart()
            self.has_died = True
        return Host(
            self.state,
            self._open_domains,
            lambda: self.links,
            open_vfs=lambda: self.vfs,
            open_filters=lambda: self.filters,
        )

    def _open_domains(self) -> FakeDomains:
        if self.agent_error:
            raise HostError(self.agent_error)
        return self.domains

    def check_answers(self) -> None:
        """DownError when the host does not answer."""
        if self.is_silent:
            raise DownError(f"cannot reach host {self.name} at 127.0.0.1 port 22: Connection refused")


class HostConnection:
    """A connection to the host, in the place of `SshConnection`."""

    def __init__(self, host: FakeHost) -> None:
        self._host = host

    def open_agent(self) -> AgentLine:
        """As `Connection.open_agent`."""
        self._host.check_answers()
        return AgentLine(self._host.name, AgentStream(self._host))

    def run(self, command: str, timeout_seconds: float | None, standard_input: bytes = b"") -> CommandOutput:
        """As `Connection.run`: the command is recorded, and has the output that the test gave it."""
        self._host.check_answers()
        self._host.commands.append(command)
        self._host.inputs.append(standard_input)
        exit_status, errors = self._host.failures.get(command, (0, b""))
        return CommandOutput(exit_status, self._host.outputs.get(command, b""), errors)

    def close(self) -> None:
        """As `Connection.close`."""


class AgentStream:
    """An agent in its serving mode; when it dies, its output ends."""

    def __init__(self, host: FakeHost) -> None:
        self._host = host
        self._agent = host.agent()
        self._reply = b""

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Have the agent answer the request."""
        self._host.check_answers()
        try:
            self._reply = reply_to(self._agent, data)
        except DiedError:
            self._reply = b""

    def receive(self, deadline: Deadline) -> bytes:
        """The agent's reply; empty when it has died."""
        reply, self._reply = self._reply, b""
        return reply

    def exit_information(self) -> tuple[int | None, bytes]:
        """No exit information."""
        return None, b""

    def close(self) -> None:
        """There is nothing to close."""


class AgentProgram:
    """An agent in a mode with byte streams, in the place of `PipeStream`; it runs in a thread."""

    def __init__(self, host: FakeHost, mode: Sequence[str]) -> None:
        host.check_answers()
        self._input: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._output: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._waiting = bytearray()
        self._input_has_ended = self._has_ended = False
        self._status: int | None = None
        self._error = ""
        self._thread = threading.Thread(target=self._run, args=(host, list(mode)), daemon=True)
        self._thread.start()

    def send(self, data: bytes, deadline: Deadline) -> None:
        """As `PipeStream.send`."""
        if self._status is not None:
            raise BrokenPipeError
        self._input.put(data)

    def receive(self, deadline: Deadline) -> bytes:
        """As `PipeStream.receive`."""
        if self._has_ended:
            return b""
        try:
            data = self._output.get(timeout=deadline.remaining_seconds())
        except queue.Empty:
            raise TimeoutError from None
        self._has_ended = not data
        return data

    def close(self) -> None:
        """As `PipeStream.close`."""
        self._input.put(b"")

    def kill(self) -> None:
        """As `PipeStream.kill`: its input ends early."""
        self.close()

    def end(self) -> None:
        """As `PipeStream.end`."""
        self.kill()
        self._thread.join()

    def collect(self, deadline: Deadline) -> CommandOutput:
        """As `PipeStream.collect`."""
        output = b""
        while data := self.receive(deadline):
            output += data
        self._thread.join(deadline.remaining_seconds())
        return CommandOutput(self._status, output, self._error.encode())

    def _read(self, count: int) -> bytes:
        while len(self._waiting) < count and not self._input_has_ended:
            data = self._input.get()
            self._input_has_ended = not data
            self._waiting += data
        taken = bytes(self._waiting[:count])
        del self._waiting[:count]
        return taken

    def _run(self, host: FakeHost, mode: list[str]) -> None:
        status = 1  # of a fault, which pytest reports
        try:
            self._perform(host.agent(), mode[0], mode[1:])
            status = 0
        except RocksError as error:
            status, self._error = error.exit_status, f"{error}\n"
        except DiedError:
            status = -9
        finally:
            self._status = status
            self._output.put(b"")

    def _perform(self, agent: Host, mode: str, names: list[str]) -> None:
        """Dispatch as `rocks.agent.main` does."""
        if mode == "receive-image":
            receive_base(BaseImage(names[0], names[1], int(names[2]), 0), self._read)
        elif mode == "send-disk":
            images.send_disk(agent, names[0], names[1], names[2], int(names[3]), self._output.put)
        elif mode == "move-disk-from":
            disk_moves.send_disk(agent, names[0], names[1], names[2], int(names[3]), self._output.put)
        elif mode == "move-disk-to":
            disk = disk_moves.Incoming(names[0], names[1], names[2], int(names[3]), names[4] == "again")
            disk_moves.receive_disk(
                agent, disk, self._read, lambda line: self._output.put(f"{line}\n".encode())
            )
        else:
            raise AssertionError(f"these hosts have no agent mode {mode}")
