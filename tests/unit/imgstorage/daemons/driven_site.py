"""NASes and hosts in one process: the real daemons with their records on disk, over devices in memory.

The test performs their work step by step: no broker, no TLS and no threads but one for each transfer. What is in a
daemon's outbox is brought to the other; `tests/system/imgstorage` has the broker and the connections.
"""

from __future__ import annotations

import itertools
import socket
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from rocks.devices.device_mapper.fake.dm_devices import FakeDmDevices
from rocks.devices.iscsi_initiator.fake import FakeSessions
from rocks.devices.iscsi_target.fake import FakeTargets
from rocks.devices.libvirt.fake import FakeDomains
from rocks.devices.zfs.fake.pools import FakePools
from rocks.errors import BusyError, HostError
from rocks.imgstorage.bus import BusSettings, Delivery, Kind
from rocks.imgstorage.client import importing
from rocks.imgstorage.configuration import Configuration
from rocks.imgstorage.host import device_handlers
from rocks.imgstorage.host import service as host_service
from rocks.imgstorage.host import transfers as host_transfers
from rocks.imgstorage.host.service import HostService
from rocks.imgstorage.life.names import target_prefix
from rocks.imgstorage.life.states import DELETING, MOVING
from rocks.imgstorage.nas import engine as nas_engine
from rocks.imgstorage.nas import service as nas_service
from rocks.imgstorage.nas.service import NasService
from rocks.imgstorage.store.file import OutboxMessage
from rocks.imgstorage.stream.transport import Connection, Identity, _files, _translated
from rocks.units import BYTES_PER_GIB, BYTES_PER_SECTOR
from rocks.wire import imgstorage as wire
from rocks.wire.imgstorage_messages import read_message, success_of, write_request
from rocks.wire.queues import host_queue, nas_queue, reply_queue
from tests.system.imgstorage.image_site import PoolDevices, VolumeFile
from tests.unit.imgstorage.daemons.moments import DiedError, Moments, Watched

NAS, OTHER_NAS, HOST, OTHER_HOST, FRONTEND = "nas-0-0", "nas-0-1", "vmc-0-0", "vmc-0-1", "head"
REPLIES = reply_queue(FRONTEND, "0" * 32)
MOST_TURNS = 100
_PREFIX = "/dev/zvol/"
_TURN_SECONDS = 400
"""Longer than any pause before something is tried again."""


def nothing(*values: Any) -> bool:
    """In the place of what a test does itself."""
    return True


class Jobs:
    """In the place of a pool of threads: the test performs the jobs."""

    def __init__(self) -> None:
        self.waiting: deque[Callable[[], object]] = deque()

    def submit(self, work: Callable[..., object], *values: Any) -> None:
        """Add a job."""
        self.waiting.append(lambda: work(*values))

    def shutdown(self, wait: bool) -> None:
        """There is nothing to wait for."""

    def perform(self) -> None:
        """All jobs, and those that they add."""
        while self.waiting:
            self.waiting.popleft()()


class Node:
    """A node whose disks outlive its daemon.

    `die_at`: a moment of the next process at which it dies, 0 is never; with `loses_power` all of the node dies.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.store = folder / name / "imgstorage" / "records.db"
        self.pools = FakePools({"tank": 100 * BYTES_PER_GIB})
        self.devices = PoolDevices(self.pools)
        self.configuration = Configuration(name, FRONTEND, "local", "tank", 4, FRONTEND)
        self.settings = BusSettings(name, "127.0.0.1")
        self.identity = Identity(Path(name), Path(name), Path(name))
        self.die_at = 0
        self.loses_power = False
        self.deaths = 0
        self.moments = Moments()
        self.jobs = Jobs()
        self.service: Any = None

    def start(self) -> None:
        """A new process of its daemon."""
        self.moments, self.die_at = Moments(self.die_at), 0
        self.jobs = Jobs()
        for volume in (volume for pool in self.pools.fake.pools.values() for volume in pool.volumes.values()):
            volume.is_receiving = False
        self.service = self.new_service()
        self.moments.count_commits(self.service._store)
        for part in self.threads():
            part.start = part.close = nothing
        self.service._bus.wait_until_connected = nothing
        self.service.start()

    def new_service(self) -> Any:
        """Its daemon, before the start."""
        raise NotImplementedError

    def threads(self) -> list[Any]:
        """The parts of the daemon that would be threads."""
        service = self.service
        return [service._bus, service._outbox_sender, service._revocations]

    def act(self, now: int) -> None:
        """What its threads do in a while."""
        self.jobs.perform()

    def lose_power(self) -> None:
        """What the kernel has is gone."""
        raise NotImplementedError

    def die(self) -> None:
        """Its process has ended: the kernel closes its files."""
        self.deaths += 1
        service, self.service = self.service, None
        self.moments.is_dead = True
        if service is not None:
            service._store.close()


class NasNode(Node):
    """A NAS."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, folder)
        self.queue = nas_queue(name)
        self.targets = FakeTargets(target_prefix(name))
        self.targets.devices = self.devices

    def new_service(self) -> NasService:
        """Its daemon, before the start."""
        pools, targets = (Watched(one, self.moments) for one in (self.pools, self.targets))
        devices = nas_service.Devices(pools, targets, self.open_device)  # type: ignore[arg-type]
        service = NasService(
            self.configuration, devices, self.settings, self.identity, self.store, 7780, address_of
        )
        service._engine._workers = service._moves._workers = self.jobs  # type: ignore[assignment]
        return service

    def threads(self) -> list[Any]:
        """Of a NAS."""
        return [*super().threads(), self.service._scheduler, self.service._housekeeping]

    def open_device(self, path: str) -> Any:
        """A volume's device, to be written to."""
        return VolumeFile(self.pools, path[len(_PREFIX) :])

    def act(self, now: int) -> None:
        """The scheduler too."""
        self.service._scheduler.tick(now)
        super().act(now)

    def lose_power(self) -> None:
        """LIO forgets its exports."""
        self.die()
        self.targets.__dict__.update(FakeTargets(target_prefix(self.name)).__dict__, devices=self.devices)


class HostNode(Node):
    """A host; its sessions are with the first NAS."""

    def __init__(self, name: str, folder: Path, nas: NasNode) -> None:
        super().__init__(name, folder)
        self.queue = host_queue(name)
        self.sessions = FakeSessions(nas.targets, f"iqn.2024-01.org.rocks.lab:{name}")
        self.dm_devices = FakeDmDevices(self.length_sectors)
        self.domains = FakeDomains()

    def new_service(self) -> HostService:
        """Its daemon, before the start."""
        pools, sessions, dm_devices = (
            Watched(one, self.moments) for one in (self.pools, self.sessions, self.dm_devices)
        )
        devices = host_service.Devices(
            pools,  # type: ignore[arg-type]
            sessions,  # type: ignore[arg-type]
            dm_devices,  # type: ignore[arg-type]
            lambda: nullcontext(self.domains),
            self.read_start,
        )
        service = HostService(self.configuration, devices, self.settings, self.identity, self.store)
        workers: Any = service._workers
        workers._workers = self.jobs
        workers._wake_later = lambda zvol: None  # `act` does
        workers.wait_until_rebuilt = lambda deadline: self.jobs.perform()
        reports: Any = service._reports
        reports.start = service._report_copies
        return service

    def threads(self) -> list[Any]:
        """Of a host."""
        service = self.service
        return [*super().threads(), service._watch, service._heartbeats]

    def act(self, now: int) -> None:
        """Rebuild what could not be rebuilt, too."""
        workers = self.service._workers
        for zvol in workers._engine.images:
            workers._wake(zvol)
        super().act(now)

    def length_sectors(self, path: str) -> int | None:
        """Of a volume's device, or of a session's disk."""
        size = self.devices.size(path)
        if size is None:
            size = next((s.size_bytes for s in self.sessions.read_sessions() if s.device_path == path), None)
        return None if size is None else size // BYTES_PER_SECTOR

    def read_start(self, path: str, count: int) -> bytes:
        """Temp-write volumes in memory always have a good header, and no writes."""
        return (b"SnAp" + (1).to_bytes(4, "little")).ljust(count, b"\0")

    def lose_power(self) -> None:
        """Sessions and devices are gone; volumes and records stay."""
        self.die()
        self.dm_devices.devices.clear()
        self.sessions._sessions.clear()


def address_of(node: str, network: str) -> str:
    """Of any node; connections go by the name."""
    return "127.0.0.2" if node == OTHER_NAS else "127.0.0.1"


class DrivenSite:
    """Two NASes, two hosts, and the messages between them and a frontend."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.nas, self.other_nas = NasNode(NAS, folder), NasNode(OTHER_NAS, folder)
        self.hosts = {name: HostNode(name, folder, self.nas) for name in (HOST, OTHER_HOST)}
        self.nodes: dict[str, Any] = {
            node.name: node for node in (self.nas, self.other_nas, *self.hosts.values())
        }
        self.queues: dict[str, deque[tuple[str, OutboxMessage]]] = {REPLIES: deque()}
        self.queues.update({node.queue: deque() for node in self.nodes.values()})
        self.now = 1_800_000_000
        self._numbers = itertools.count()
        patch.setattr(nas_engine, "now_seconds", lambda: self.now)
        patch.setattr(device_handlers, "wait_seconds", nothing)
        for module in (nas_service, host_service):
            patch.setattr(module, "client_context", lambda identity: str(identity.certificate))
        patch.setattr(nas_service, "server_context", nothing)
        patch.setattr(nas_service, "StreamServer", nothing)
        for module in (nas_service, host_transfers, importing):
            patch.setattr(module, "connect", self.connect)

    def start(self) -> None:
        """Every daemon that does not run."""
        for node in self.nodes.values():
            if node.service is None:
                with self._perhaps_dying(node):
                    node.start()

    @contextmanager
    def _perhaps_dying(self, node: Node) -> Iterator[None]:
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
        """As `transport.connect`; `peer` is the caller's name instead of its certificate."""
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
        """Each daemon performs what is open, and gets its messages; one that is dead starts at the end."""
        self.now += _TURN_SECONDS
        for node in self.nodes.values():
            if node.service is None:
                continue
            with self._perhaps_dying(node):
                node.act(self.now)
                self._deliver(node)
                node.jobs.perform()
                self._collect(node)
            self._check()
        self.start()

    def _check(self) -> None:
        """No image is given to two hosts, or by two NASes."""
        given = [
            image.zvol
            for nas in (self.nas, self.other_nas)
            if nas.service is not None
            for image in nas.service._engine.images()
            if image.state not in (MOVING, DELETING)
        ]
        assert len(given) == len(set(given)), f"two NASes have it: {given}"
        for zvol in given:
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
            delivery = Delivery(
                sender, one.body, one.message_id, one.correlation_id, one.reply_to, kind, False
            )
            try:
                node.service._received(delivery)
            except BusyError:
                return  # the same message comes again
            queue.popleft()

    # --- commands

    def send(self, request: Any, to: str = NAS) -> str:
        """A command's request; returns its number."""
        number = str(uuid.UUID(int=next(self._numbers)))
        message = OutboxMessage(number, "", "request", None, REPLIES, write_request(request))
        self.queues[self.nodes[to].queue].append((FRONTEND, message))
        return number

    def answer(self, number: str) -> Mapping[str, Any]:
        """The fields of the answer; the error that it carries is raised."""
        self.until(lambda: any(message.correlation_id == number for _, message in self.queues[REPLIES]))
        found = next(message for _, message in self.queues[REPLIES] if message.correlation_id == number)
        return success_of(read_message(found.body))

    def ask(self, request: Any, to: str = NAS) -> Mapping[str, Any]:
        """Send a request; the fields of its answer."""
        return self.answer(self.send(request, to))

    def until(self, holds: Callable[[], bool]) -> None:
        """Turns until it holds."""
        for _ in range(MOST_TURNS):
            if holds():
                return
            self.turn()
        raise AssertionError(f"no end: {self.rows(NAS)} {self.rows(OTHER_NAS)}")

    def map(self, zvol: str, host: str = HOST, *, sync: bool = True, nas: str = NAS) -> None:
        """Map an image, of 1 GiB when it is new; until its copy is complete when it is copied."""
        initiator = f"iqn.2024-01.org.rocks.lab:{host}"
        self.ask(wire.MapZvol("tank", zvol, host, "tank", 1, sync, initiator), nas)
        if sync:
            self.until(lambda: self.state(zvol, nas) == "local")

    def image(self, zvol: str, nas: str = NAS) -> Any:
        """The record of an image; None without one, or while the daemon does not run."""
        service = self.nodes[nas].service
        return None if service is None else service._engine.image_of(zvol)

    def state(self, zvol: str, nas: str = NAS) -> str | None:
        """Its state."""
        image = self.image(zvol, nas)
        return None if image is None else str(image.state)

    def rows(self, nas: str = NAS) -> list[tuple[str, str, str | None]]:
        """Images with their state, and why they are blocked."""
        service = self.nodes[nas].service
        images = () if service is None else service._engine.images()
        return [(image.zvol, image.state, image.reason) for image in images]

    # --- what must hold

    def writers(self, zvol: str) -> list[str]:
        """Hosts that can write to the image."""
        return [
            host.name
            for host in self.hosts.values()
            if host.dm_devices.read(f"{zvol}-snap") is not None
            or any(
                f":{zvol}." in one.target and not one.is_read_only for one in host.sessions.read_sessions()
            )
        ]

    def leftovers(self) -> list[str]:
        """What nothing needs when no image is mapped, passwords among it."""
        found = [
            f"export {export.target}"
            for nas in (self.nas, self.other_nas)
            for export in nas.targets.read_exports()
        ]
        for host in self.hosts.values():
            found += [f"device {one.name}" for one in host.dm_devices.list()]
            found += [f"session {one.target}" for one in host.sessions.read_sessions()]
            names = [fact.name for fact in host.pools.list_volumes("tank")]
            found += [f"volume {name}" for name in names if "temp-write" in name or ".seed" in name]
            copies = host.service._store.copies()
            found += [
                f"password of {one.known.zvol}" for one in copies if one.details.get("chap") is not None
            ]
            found += [f"note of {one.name}" for one in (host.store.parent / "mapped").glob("*")]
        return found


def _serve(nas: NasNode, peer: str, opening: bytes, stream: socket.socket) -> None:
    def end() -> None:
        stream.shutdown(socket.SHUT_RDWR)

    try:
        with stream, _files(stream) as (reader, writer):  # type: ignore[arg-type]
            nas.service._transfers.serve(Connection(peer, opening, reader, writer, end))
    except (DiedError, OSError):
        pass  # the connection ends with the daemon
