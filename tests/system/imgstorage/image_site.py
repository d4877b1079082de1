"""A NAS, two hosts and a frontend: real daemons, a real broker and real TLS between them, over devices in memory."""

from __future__ import annotations

import io
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from rocks.core.units import BYTES_PER_GIB, BYTES_PER_SECTOR
from rocks.machine.host.libvirt.fake import FakeDomains
from rocks.storage.bus import Asker, Question
from rocks.storage.configuration import Configuration
from rocks.storage.device_mapper.fake.dm_devices import FakeDmDevices
from rocks.storage.host import service as host_service
from rocks.storage.host.service import HostService
from rocks.storage.iscsi_initiator.fake import FakeSessions
from rocks.storage.iscsi_target.fake import FakeTargets
from rocks.storage.life.names import target_prefix
from rocks.storage.nas import service as nas_service
from rocks.storage.nas.service import NasService
from rocks.storage.stream.transport import Identity
from rocks.storage.wire import requests as wire
from rocks.storage.wire.messages import read_message, success_of, write_request
from rocks.storage.wire.queues import host_queue, nas_queue
from rocks.storage.zfs.fake.pools import FakePools
from tests.system.imgstorage.real_broker import RealBroker
from tests.waiting import wait_until

NAS, HOSTS, FRONTEND = "nas-0-0", ("vmc-0-0", "vmc-0-1"), "head"
_PREFIX = "/dev/zvol/"
_POOL_BYTES = 100 * BYTES_PER_GIB


def address_of(node: str, network: str) -> str:
    """All of them are here; the port of transfers is the same on each NAS, so a second one has another address."""
    del network
    return "127.0.0.2" if node.startswith("nas-1-") else "127.0.0.1"


class PoolDevices(dict[str, int]):
    """Block devices of a pool's volumes and snapshots, path → bytes."""

    def __init__(self, pools: FakePools) -> None:
        super().__init__()
        self._pools = pools

    def __contains__(self, path: object) -> bool:
        return self.size(str(path)) is not None

    def __missing__(self, path: str) -> int:
        size = self.size(path)
        if size is None:
            raise KeyError(path)
        return size

    def get(self, path: str, default: Any = None) -> Any:
        """As of any dictionary."""
        size = self.size(path)
        return default if size is None else size

    def size(self, path: str) -> int | None:
        """Of the device, None when there is none."""
        if not path.startswith(_PREFIX):
            return None
        fact = self._pools.read_volume(path[len(_PREFIX) :].partition("@")[0])
        return None if fact is None else fact.size_bytes


class VolumeFile(io.RawIOBase):
    """A volume in memory as its block device."""

    def __init__(self, pools: FakePools, volume: str) -> None:
        super().__init__()
        self._pools, self._volume, self._at = pools, volume, 0

    def seek(self, offset: int, whence: int = 0) -> int:
        """From the beginning only."""
        assert whence == 0
        self._at = offset
        return offset

    def write(self, data: Any) -> int:
        """Where it stands."""
        self._pools.write(self._volume, bytes(data), self._at)
        self._at += len(data)
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """From where it stands."""
        found = self._pools.read(self._volume, size, self._at)
        self._at += len(found)
        return found


class Machine:
    """A node whose disks outlive its daemon."""

    service: Any

    def start(self) -> None:
        """Start its daemon."""
        raise NotImplementedError

    def __init__(self, name: str, folder: Path, broker: RealBroker) -> None:
        self.name = name
        self.store = folder / name / "imgstorage" / f"{name}.db"
        self.settings = broker.settings(name)
        pair = Path(self.settings.pair_file)
        self.identity = Identity(pair, pair, Path(self.settings.authority_file))
        self.configuration = Configuration(name, FRONTEND, "local", "tank", 4, FRONTEND)
        self.pools = FakePools({"tank": _POOL_BYTES})
        self.devices = PoolDevices(self.pools)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Its daemon does not run meanwhile."""
        self.service.close()
        try:
            yield
        finally:
            self.start()


class NasMachine(Machine):
    service: NasService

    def __init__(self, folder: Path, broker: RealBroker, stream_port: int, name: str = NAS) -> None:
        super().__init__(name, folder, broker)
        self.stream_port = stream_port
        self.targets = FakeTargets(target_prefix(name))
        self.targets.devices = self.devices

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
        assert self.service.wait_until_connected(120)

    def open_device(self, path: str) -> Any:
        """A volume's device, to be written to."""
        return VolumeFile(self.pools, path[len(_PREFIX) :])


class HostMachine(Machine):
    service: HostService

    def __init__(self, name: str, folder: Path, broker: RealBroker, nas: NasMachine) -> None:
        super().__init__(name, folder, broker)
        self.sessions = FakeSessions(nas.targets, f"iqn.2024-01.org.rocks.lab:{name}")
        self.dm_devices = FakeDmDevices(self.length_sectors)
        self.domains = FakeDomains()

    def start(self) -> None:
        devices = host_service.Devices(
            self.pools, self.sessions, self.dm_devices, lambda: nullcontext(self.domains), self.read_start
        )
        self.service = HostService(self.configuration, devices, self.settings, self.identity, self.store)
        self.service.start()
        assert self.service.wait_until_connected(120)

    def length_sectors(self, path: str) -> int | None:
        """Of a volume's device, or of a session's disk."""
        size = self.devices.size(path)
        if size is None:
            size = next((s.size_bytes for s in self.sessions.read_sessions() if s.device_path == path), None)
        return None if size is None else size // BYTES_PER_SECTOR

    def read_start(self, path: str, count: int) -> bytes:
        """Temp-write volumes in memory always have a good header."""
        del path
        return (b"SnAp" + (1).to_bytes(4, "little"))[:count]

    def lose_power(self) -> None:
        """Sessions and devices are gone; volumes and records stay."""
        self.service.close()
        self.dm_devices.devices.clear()
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
        for file in self.nas.store.parent.glob(f"{self.nas.store.name}*"):
            file.unlink()
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
        delivery = self._askers[thread].ask(Question(queue, body), deadline_seconds)
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
        machine = self.hosts[host]
        found = [f"mapping {mapping.name}" for mapping in machine.dm_devices.list()]
        found += [f"session {session.target}" for session in machine.sessions.read_sessions()]
        found += [
            f"volume {fact.name}" for fact in machine.pools.list_volumes("tank") if "temp-write" in fact.name
        ]
        found += [
            f"volume {fact.name}" for fact in machine.pools.list_volumes("tank") if ".seed" in fact.name
        ]
        found += [f"export {export.target}" for export in self.nas.targets.read_exports()]
        return found


@contextmanager
def running_site(folder: Path, broker: RealBroker) -> Iterator[ImageSite]:
    """All daemons running on a free port, no image; they end with the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    made = ImageSite(folder, broker, port)
    made.start()
    try:
        yield made
    finally:
        made.close()
