"""NASes and hosts in one process: the real daemons, with records on disk and devices in memory.

They have no threads: `act` performs the open work.
"""

import os
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rocks.storage.bus import BusSettings
from rocks.storage.host import service as host_service
from rocks.storage.host.service import HostService
from rocks.storage.image.names import target_prefix
from rocks.storage.nas import service as nas_service
from rocks.storage.nas.service import NasService
from rocks.storage.stream.transport import Identity
from rocks.storage.wire.names import host_queue, nas_queue
from tests.fakes.iscsi import FakeTargets
from tests.unit.storage.daemons.moments import InterruptibleDriver, Moments
from tests.unit.storage.memory_nodes import (
    FRONTEND,
    HOST,
    HOSTS,
    NAS,
    OTHER_HOST,
    MemoryHost,
    MemoryNas,
    MemoryNode,
)

__all__ = ["FRONTEND", "HOST", "HOSTS", "NAS", "OTHER_HOST"]

OTHER_NAS = "nas-0-1"


def nothing(*values: Any) -> bool:
    """Replaces calls whose work the test does itself, or does not need."""
    return True


class Jobs:
    """In the place of a thread pool: the test performs the jobs."""

    def __init__(self) -> None:
        self.waiting: deque[Callable[[], object]] = deque()

    def submit(self, work: Callable[..., object], *values: Any) -> None:
        self.waiting.append(lambda: work(*values))

    def shutdown(self, wait: bool) -> None:
        """There is nothing to wait for."""

    def perform(self) -> None:
        """Perform all jobs, including those that they add."""
        while self.waiting:
            self.waiting.popleft()()


class Node(MemoryNode):
    """A node whose disks outlive its daemon.

    `die_at`: the moment at which the next process dies; 0: never. With `loses_power`, the whole node loses power then.
    """

    def __init__(self, name: str, folder: Path, *more: Any) -> None:
        super().__init__(name, folder, *more)
        self.settings = BusSettings(name, "127.0.0.1")
        self.identity = Identity(Path(name), Path(name), Path(name))
        self.die_at = 0
        self.loses_power = False
        self.on_change: Callable[[], object] = nothing
        self.deaths = 0
        self.moments = Moments()
        self.jobs = Jobs()
        self.service: Any = None

    def start(self) -> None:
        """Start a new process of the daemon."""
        self.moments, self.die_at = Moments(self.die_at, self.on_change), 0
        self.jobs = Jobs()
        for volume in (volume for pool in self.pools.fake.pools.values() for volume in pool.volumes.values()):
            volume.is_receiving = False
        self.service = self.new_service()
        self.moments.count_commits(self.service._store)
        for part in self.threads():
            part.start = part.close = nothing
        bus = self.service._bus
        bus.wait_until_connected = bus._wake = nothing
        for end in (bus._wake_read, bus._wake_write):  # of the thread that does not run
            os.close(end)
        self.service.start()

    def new_service(self) -> Any:
        """Its daemon, before the start."""
        raise NotImplementedError

    def threads(self) -> list[Any]:
        """The parts of the daemon that are threads in production."""
        service = self.service
        return [service._bus, service._outbox_sender, service._revocations]

    def act(self, now: int) -> None:
        """Do the open work of its threads."""
        self.moments.statements = 0
        self.jobs.perform()

    def lose_power(self) -> None:
        """The node stops, and its kernel's state is lost."""
        raise NotImplementedError

    def die(self) -> None:
        """End the daemon's process; its files are closed, as by the kernel."""
        self.deaths += 1
        service, self.service = self.service, None
        self.moments.is_dead = True
        if service is not None:
            service._store.close()


class NasNode(Node, MemoryNas):
    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, folder)
        self.queue = nas_queue(name)

    def new_service(self) -> NasService:
        """Its daemon, before the start."""
        pools, targets = (InterruptibleDriver(one, self.moments) for one in (self.pools, self.targets))
        devices = nas_service.Devices(pools, targets, self.open_device)  # type: ignore[arg-type]
        service = NasService(
            self.configuration, devices, self.settings, self.identity, self.store, 7780, address_of
        )
        service._engine._workers = service._moves._workers = self.jobs  # type: ignore[assignment]
        return service

    def threads(self) -> list[Any]:
        """The same, with those of a NAS."""
        service = self.service
        return [*super().threads(), service._scheduler, service._snapshot_expiry, service._exports]

    def act(self, now: int) -> None:
        """Do the scheduler's work, and compare the exports, too."""
        self.service._scheduler.tick(now)
        self.service._exports.look()
        super().act(now)

    def lose_power(self) -> None:
        """The daemon ends, and LIO's exports are lost."""
        self.die()
        self.targets.__dict__.update(FakeTargets(target_prefix(self.name)).__dict__, devices=self.devices)


class HostNode(Node, MemoryHost):
    """A host. Its iSCSI sessions are with the first NAS only."""

    def __init__(self, name: str, folder: Path, nas: NasNode) -> None:
        super().__init__(name, folder, nas)
        self.queue = host_queue(name)

    def new_service(self) -> HostService:
        """Its daemon, before the start."""
        pools, sessions, dm_devices = (
            InterruptibleDriver(one, self.moments) for one in (self.pools, self.sessions, self.dm_devices)
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
        reports.start, reports.join = service._report_copies, nothing
        releases: Any = service._releases._thread
        releases.start = releases.join = nothing
        return service

    def threads(self) -> list[Any]:
        """The same, with those of a host."""
        service = self.service
        return [*super().threads(), service._watch, service._heartbeats]

    def act(self, now: int) -> None:
        """Report ended machines and retry failed rebuilds, too."""
        self.service._releases.look()
        workers = self.service._workers
        for zvol in workers._engine.images:
            workers._wake(zvol)
        super().act(now)

    def lose_power(self) -> None:
        """The daemon ends; sessions and devices are lost; volumes and records stay."""
        self.die()
        self.kernel.devices.clear()
        self.sessions._sessions.clear()


def address_of(node: str, network: str) -> str:
    """The address of a node; `connect` uses the name instead."""
    return "127.0.0.2" if node == OTHER_NAS else "127.0.0.1"
