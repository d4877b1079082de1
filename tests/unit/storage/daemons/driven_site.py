"""Two NASes, two hosts and a frontend that the test drives step by step.

There is no broker, no TLS, and no thread except one for each transfer. The test moves the messages from each daemon's
outbox to the receiver. `tests/system/imgstorage` tests with the real broker and connections.
"""

import itertools
import socket
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rocks.core.errors import BusyError, HostError
from rocks.storage.bus import Delivery, Kind
from rocks.storage.client import importing
from rocks.storage.host import copies as host_transfers
from rocks.storage.host import devices
from rocks.storage.host import service as host_service
from rocks.storage.image.states import BLOCKED, DELETING, MOVING
from rocks.storage.nas import engine
from rocks.storage.nas import engine as nas_engine
from rocks.storage.nas import service as nas_service
from rocks.storage.store.file import OutboxMessage
from rocks.storage.stream.transport import Connection, _files, _translated
from rocks.storage.wire import requests as wire
from rocks.storage.wire.messages import read_message, success_of, write_request
from rocks.storage.wire.names import reply_queue
from tests.unit.storage.daemons.moments import DiedError
from tests.unit.storage.daemons.nodes import (
    FRONTEND,
    HOST,
    HOSTS,
    NAS,
    OTHER_NAS,
    HostNode,
    NasNode,
    Node,
    nothing,
)

REPLIES = reply_queue(FRONTEND, "0" * 32)
MAX_TURNS = 200
_TURN_SECONDS = 30
"""Short enough that an image with a grace period of an hour survives a test, long enough that retries become due."""


class DrivenSite:
    """Two NASes, two hosts, and the messages between them and a frontend."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.nas, self.other_nas = NasNode(NAS, folder), NasNode(OTHER_NAS, folder)
        self.hosts = {name: HostNode(name, folder, self.nas) for name in HOSTS}
        self.nodes: dict[str, Any] = {
            node.name: node for node in (self.nas, self.other_nas, *self.hosts.values())
        }
        self.queues: dict[str, deque[tuple[str, OutboxMessage]]] = {REPLIES: deque()}
        self.queues.update({node.queue: deque() for node in self.nodes.values()})
        self.now = 1_800_000_000
        self.clock_error = 0
        """By how much the clock was set forward; the monotonic one goes on."""
        self.acting: Any = None
        """The node whose daemon is at work; None while daemons start."""
        self.given_up: set[str] = set()
        """Images that were given up on a host that may still use them."""
        self._numbers = itertools.count()
        patch.setattr(nas_engine, "now_seconds", lambda: self.now)
        patch.setattr(engine, "monotonic_seconds", lambda: float(self.now - self.clock_error))
        patch.setattr(devices, "wait_seconds", nothing)
        for name in ("_CLOSE_SECONDS", "_UDEV_SECONDS"):
            patch.setattr(devices, name, 0.0)
        for module in (nas_service, host_service):
            patch.setattr(module, "client_context", lambda identity: str(identity.certificate))
        patch.setattr(nas_service, "server_context", nothing)
        patch.setattr(nas_service, "StreamServer", _NoServer)
        for module in (nas_service, host_transfers, importing):
            patch.setattr(module, "connect", self.connect)

    def start(self) -> None:
        """Start every daemon that does not run."""
        for node in self.nodes.values():
            if node.service is None:
                with self._catching_death(node):
                    node.start()

    @contextmanager
    def _catching_death(self, node: Node) -> Iterator[None]:
        try:
            yield
        except DiedError:
            pass
        if node.moments.is_dead:
            node.lose_power() if node.loses_power else node.die()

    # --- connections between the daemons

    @contextmanager
    def connect(
        self, peer: str, address: str, port: int, name: str, opening: bytes, revocations: Any = None
    ) -> Iterator[Connection]:
        """As `transport.connect`; `peer` is the caller's name in the place of its certificate."""
        nas = self.nodes[name]
        if nas.service is None or nas.moments.is_dead:
            raise HostError(f"no transfer with {name}: its daemon does not run")
        ours, theirs = socket.socketpair()
        server = threading.Thread(target=_serve, args=(nas, peer, opening, theirs), daemon=True)
        server.start()
        try:
            with ours, _translated(name), _files(ours) as (reader, writer):  # type: ignore[arg-type]
                yield Connection(name, opening, reader, writer, lambda: ours.shutdown(socket.SHUT_RDWR))
        finally:
            server.join(30)
            assert not server.is_alive()

    # --- messages and turns

    def turn(self) -> None:
        """Each daemon performs its open work and receives its messages. At the end, dead daemons are started."""
        self.now += _TURN_SECONDS
        for node in self.nodes.values():
            if node.service is None:
                continue
            self.acting = node
            with self._catching_death(node):
                node.act(self.now)
                self._deliver(node)
                node.jobs.perform()
                self._collect(node)
            self._check()
        self.acting = None
        self.start()

    def _check(self) -> None:
        """No image is served by two NASes or writable by two hosts."""
        images = (*self._images(self.nas), *self._images(self.other_nas))
        given = [image for image in images if image.state not in (MOVING, DELETING, BLOCKED)]
        assert len(given) == len({image.image_id for image in given}), f"two NASes serve an image: {given}"
        for zvol in {image.zvol for image in given} - self.given_up:
            assert len(self.writers(zvol)) <= 1, f"{self.writers(zvol)} can write to {zvol}"

    def _collect(self, node: Any) -> None:
        store = node.service._store
        for message in store.waiting(1000):
            self.queues[message.destination].append((node.name, message))
            store.sent(message.message_id)

    def _deliver(self, node: Any) -> None:
        queue = self.queues[node.queue]
        while queue:
            sender, one = queue[0]
            kind = Kind(one.kind)
            delivery = Delivery(sender, one.body, one.message_id, one.correlation_id, one.reply_to, kind)
            try:
                node.service._received(delivery)
            except BusyError:
                return  # the message stays in the queue and is delivered again
            queue.popleft()

    # --- commands

    def send(self, request: Any, to: str = NAS) -> str:
        """Send a command's request; returns its number."""
        return self.send_body(write_request(request), to)

    def send_body(self, body: bytes, to: str = NAS) -> str:
        """Send a request that is already encoded; returns its number."""
        number = str(uuid.UUID(int=next(self._numbers)))
        message = OutboxMessage(number, "", "request", None, REPLIES, body)
        self.queues[self.nodes[to].queue].append((FRONTEND, message))
        return number

    def has_answer(self, number: str) -> bool:
        return any(message.correlation_id == number for _, message in self.queues[REPLIES])

    def answer(self, number: str) -> Mapping[str, Any]:
        """Wait for the answer; returns its fields, or raises the error that it carries."""
        self.wait_for(lambda: self.has_answer(number), "an answer")
        found = next(message for _, message in self.queues[REPLIES] if message.correlation_id == number)
        return success_of(read_message(found.body))

    def ask(self, request: Any, to: str = NAS) -> Mapping[str, Any]:
        """Send a request and wait for the answer; returns its fields."""
        return self.answer(self.send(request, to))

    def wait_for(self, holds: Callable[[], bool], condition: str) -> None:
        """Perform turns until the condition holds."""
        for _ in range(MAX_TURNS):
            if holds():
                return
            self.turn()
        raise AssertionError(
            f"not {condition} after {MAX_TURNS} turns: {[self._images(nas) for nas in (self.nas, self.other_nas)]}"
        )

    def wait_for_state(self, zvol: str, state: str, nas: str = NAS) -> None:
        """Perform turns until the image is in that state."""
        self.wait_for(lambda: self.state(zvol, nas) == state, f"{zvol} {state}")

    def map(
        self,
        zvol: str,
        host: str = HOST,
        *,
        sync: bool = True,
        nas: str = NAS,
        token: int | None = None,
        machine: str = "",
    ) -> str:
        """Map an image, and create it with 1 GiB if it is new; returns its device."""
        initiator = self.hosts[host].sessions.read_initiator()
        request = wire.MapZvol("tank", zvol, host, "tank", 1, sync, initiator, token, machine)
        return str(self.ask(request, nas)["bdev"])

    def map_local(
        self, zvol: str, host: str = HOST, *, token: int | None = None, machine: str = ""
    ) -> HostNode:
        """Map an image and wait until it is local; returns its host."""
        self.map(zvol, host, token=token, machine=machine)
        self.wait_for_state(zvol, "local")
        return self.hosts[host]

    def unmap(self, zvol: str) -> None:
        self.ask(wire.UnmapZvol(zvol))

    def rows(self, nas: str = NAS) -> list[Mapping[str, Any]]:
        return list(self.ask(wire.ListZvols(), nas)["body"])

    def row(self, zvol: str, nas: str = NAS) -> Mapping[str, Any]:
        return next(row for row in self.rows(nas) if row["zvol"] == zvol)

    def image(self, zvol: str, nas: str = NAS) -> Any:
        """The record of an image; None without one, or while the daemon does not run."""
        return next((image for image in self._images(self.nodes[nas]) if image.zvol == zvol), None)

    def state(self, zvol: str, nas: str = NAS) -> str | None:
        """The state of an image; None without a record."""
        image = self.image(zvol, nas)
        return None if image is None else str(image.state)

    def lose_records(self) -> None:
        """Reinstall the first NAS: its pools stay, its daemon's records are gone."""
        self.nas.die()
        self.nas.forget_records()
        self.nas.start()

    @staticmethod
    def _images(nas: NasNode) -> tuple[Any, ...]:
        return () if nas.service is None else tuple(nas.service._engine.images())

    # --- what must hold

    def writers(self, zvol: str) -> list[str]:
        """The hosts that can write to the image."""
        return [
            host.name
            for host in self.hosts.values()
            if host.dm_devices.read(f"{zvol}-snap") is not None
            or any(
                f":{zvol}." in one.target and not one.is_read_only for one in host.sessions.read_sessions()
            )
        ]

    def leftovers(self) -> list[str]:
        """Whatever exists although no image is mapped: exports, devices, sessions, volumes, passwords, notes."""
        found = [
            f"export {export.target}"
            for nas in (self.nas, self.other_nas)
            for export in nas.targets.read_exports()
        ]
        for host in self.hosts.values():
            found += host.leftovers()
            copies = host.service._store.copies()
            found += [
                f"password of {one.known.zvol}" for one in copies if one.details.get("chap") is not None
            ]
            found += [f"note of {one.name}" for one in (host.store.parent / "mapped").glob("*")]
        return found


class _NoServer:
    """In the place of the stream server: `connect` creates the connections."""

    def __init__(self, *values: Any) -> None:
        pass

    def close(self) -> None:
        """There is nothing to close."""


def _serve(nas: NasNode, peer: str, opening: bytes, stream: socket.socket) -> None:
    def end() -> None:
        stream.shutdown(socket.SHUT_RDWR)

    try:
        with stream, _files(stream) as (reader, writer):  # type: ignore[arg-type]
            nas.service._transfers.serve(Connection(peer, opening, reader, writer, end))
    except (DiedError, OSError):
        pass  # the connection ends with the daemon
