"""A NAS, two hosts and a frontend: real daemons, a real broker and real TLS between them, over devices in memory."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from rocks.storage.bus import Asker, RequestMessage
from rocks.storage.host import service as host_service
from rocks.storage.host.service import HostService
from rocks.storage.nas import service as nas_service
from rocks.storage.nas.service import NasService
from rocks.storage.stream.transport import Identity
from rocks.storage.wire import requests as wire
from rocks.storage.wire.messages import read_message, success_of, write_request
from rocks.storage.wire.names import host_queue, nas_queue
from tests.patience import patience
from tests.servers import free_port
from tests.system.imgstorage.real_broker import RealBroker, answer_of
from tests.unit.storage.memory_nodes import FRONTEND, HOSTS, NAS, MemoryHost, MemoryNas, MemoryNode
from tests.waiting import wait_until

__all__ = ["FRONTEND", "HOSTS", "NAS"]


def address_of(node: str, network: str) -> str:
    """All of them are here; the port of transfers is the same on each NAS, so a second one has another address."""
    del network
    return "127.0.0.2" if node.startswith("nas-1-") else "127.0.0.1"


class Machine(MemoryNode):
    """A node whose disks outlive its daemon."""

    def start(self) -> None:
        """Start its daemon."""
        raise NotImplementedError

    def __init__(self, name: str, folder: Path, broker: RealBroker, *more: Any) -> None:
        super().__init__(name, folder, *more)
        self.settings = broker.settings(name)
        pair = Path(self.settings.pair_file)
        self.identity = Identity(pair, pair, Path(self.settings.authority_file))

    @contextmanager
    def away(self) -> Iterator[None]:
        """Its daemon does not run meanwhile."""
        self.service.close()
        try:
            yield
        finally:
            self.start()


class NasMachine(Machine, MemoryNas):
    service: NasService

    def __init__(self, folder: Path, broker: RealBroker, stream_port: int, name: str = NAS) -> None:
        super().__init__(name, folder, broker)
        self.stream_port = stream_port

    def start(self) -> None:
        devices = nas_service.Devices(self.pools, self.targets, self.open_device)
        self.service = NasService(
            self.configuration,
            devices,
            self.settings,
            self.identity,
            self.store,
            self.stream_port,
            address_of,
        )
        self.service.start()
        assert self.service._bus.wait_until_connected(120)


class HostMachine(Machine, MemoryHost):
    service: HostService

    def __init__(self, name: str, folder: Path, broker: RealBroker, nas: NasMachine) -> None:
        super().__init__(name, folder, broker, nas)

    def start(self) -> None:
        devices = host_service.Devices(
            self.pools, self.sessions, self.dm_devices, lambda: nullcontext(self.domains), self.read_start
        )
        self.service = HostService(self.configuration, devices, self.settings, self.identity, self.store)
        self.service.start()
        assert self.service._bus.wait_until_connected(120)

    def lose_power(self) -> None:
        """Sessions and devices are gone; volumes and records stay."""
        self.service.close()
        self.kernel.devices.clear()
        for session in self.sessions.read_sessions():
            self.sessions.users.pop(session.device_path, None)
            self.sessions.ensure_session_gone(session.target)


class ImageSite:
    """All of it, with what a command asks."""

    def __init__(self, folder: Path, broker: RealBroker, stream_port: int) -> None:
        self.nas = NasMachine(folder, broker, stream_port)
        self.hosts = {name: HostMachine(name, folder, broker, self.nas) for name in HOSTS}
        self._broker = broker
        self._askers: dict[int, Asker] = {}

    def start(self) -> None:
        self.nas.start()
        for host in self.hosts.values():
            host.start()

    def close(self) -> None:
        for asker in self._askers.values():
            asker.close()
        for machine in (*self.hosts.values(), self.nas):
            machine.service.close()

    def lose_records(self) -> None:
        """The NAS is installed anew over its pools: what its daemon knew is gone."""
        self.nas.service.close()
        self.nas.forget_records()
        self.nas.start()

    def ask(self, request: Any, to: str = NAS, deadline_seconds: float = 30) -> Mapping[str, Any]:
        """The fields of the answer; the error that it carries is raised."""
        return self.ask_body(write_request(request), to, deadline_seconds)

    def ask_body(self, body: bytes, to: str = NAS, deadline_seconds: float = 30) -> Mapping[str, Any]:
        """The same, for a message that is written already."""
        queue = nas_queue(to) if to.startswith("nas-") else host_queue(to)
        thread = threading.get_ident()  # a connection is one thread's
        if thread not in self._askers:
            self._askers[thread] = Asker(self._broker.settings(FRONTEND))
        delivery = answer_of(self._askers[thread], RequestMessage(queue, body), patience(deadline_seconds))
        return success_of(read_message(delivery.body))

    def map(self, zvol: str, host: str = HOSTS[0], *, sync: bool = True, size: int = 1) -> str:
        initiator = str(self.ask(wire.ListInitiator(), host)["body"])
        answer = self.ask(wire.MapZvol("tank", zvol, host, "tank", size, sync, initiator))
        return str(answer["bdev"])

    def map_local(self, zvol: str, host: str = HOSTS[0]) -> HostMachine:
        """Map an image and wait until it is local; returns its host."""
        self.map(zvol, host)
        self.wait_for_state(zvol, "local")
        return self.hosts[host]

    def unmap(self, zvol: str) -> None:
        self.ask(wire.UnmapZvol(zvol))

    def rows(self) -> list[Mapping[str, Any]]:
        """The rows of the listing, of all images."""
        rows: list[Mapping[str, Any]] = []
        while True:
            answer = self.ask(wire.ListZvols(rows[-1]["zvol"] if rows else ""))
            rows += answer["body"]
            if not answer["more"]:
                return rows

    def row(self, zvol: str) -> Mapping[str, Any]:
        """The row of the listing for an image."""
        return next(row for row in self.rows() if row["zvol"] == zvol)

    def wait_for_state(self, zvol: str, state: str, deadline_seconds: float = 30) -> None:
        """Until the image is in that state."""
        self.wait_for(lambda: self.row(zvol)["state"] == state, f"{zvol} {state}", deadline_seconds, zvol)

    def wait_for(
        self, holds: Callable[[], bool], condition: str, deadline_seconds: float = 30, zvol: str | None = None
    ) -> None:
        """Until it holds."""
        wait_until(
            holds,
            lambda: f"not {condition}: {json.dumps(dict(self.row(zvol)) if zvol else {})}",
            deadline_seconds,
        )

    def leftovers(self, host: str) -> list[str]:
        """What a host and the NAS have that nothing needs when no image is mapped."""
        exports = [f"export {export.target}" for export in self.nas.targets.read_exports()]
        return self.hosts[host].leftovers() + exports


@contextmanager
def running_site(folder: Path, broker: RealBroker) -> Iterator[ImageSite]:
    """All daemons running on a free port, no image; they end with the block."""
    made = ImageSite(folder, broker, free_port())
    made.start()
    try:
        yield made
    finally:
        made.close()
