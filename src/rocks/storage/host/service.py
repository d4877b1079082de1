"""The host daemon put together: broker, records, devices; and its reports to the NASes that it is there."""

from __future__ import annotations

import logging
import ssl
import threading
from pathlib import Path
from typing import Callable, Dict, Iterable, NamedTuple, Optional

from rocks.core.clock import Deadline
from rocks.core.errors import RocksError, UserError
from rocks.core.periodic import PeriodicThread
from rocks.fleet.host.state_folder import record_names
from rocks.fleet.wire.codec import encode
from rocks.storage.bus import Bus, BusSettings, Delivery
from rocks.storage.configuration import Configuration
from rocks.storage.daemon import BROKER_SECONDS, OutboxSender, when_recorded
from rocks.storage.device_mapper.dm_devices import DmDevices
from rocks.storage.host.copies import CopyHandlers, HostTransfers, StoredCopies
from rocks.storage.host.devices import DeviceHandlers, device_rows, read_start
from rocks.storage.host.effects import Name
from rocks.storage.host.engine import GrantedImage, Handler, HostEngine, HostWorkers
from rocks.storage.host.guests import GuestState, OpenGuests, ReleaseWatch, guest_state
from rocks.storage.host.lost_records import recover_records
from rocks.storage.host.retained_copies import report_copies
from rocks.storage.host.temp_write_watch import TempWriteWatch
from rocks.storage.image.effects import HostRequest
from rocks.storage.image.image import Facts
from rocks.storage.image.names import guest_device
from rocks.storage.iscsi.initiator import SessionDriver, device_path_of
from rocks.storage.limits import HEARTBEAT_SECONDS
from rocks.storage.mapped_volumes import MappedImage, forget_mapped, write_mapped
from rocks.storage.store.file import OutboxMessage
from rocks.storage.store.host import CopyRecord, HostStore
from rocks.storage.stream.transport import Identity, RevocationWatch, client_context
from rocks.storage.wire.messages import (
    HOST_REQUEST,
    Message,
    NewerVersionError,
    read_message,
    read_request,
    write_error,
    write_success,
)
from rocks.storage.wire.names import host_queue
from rocks.storage.wire.requests import DelCopy, ListCopies, ListDevices
from rocks.storage.zfs.pool import PoolDriver


class Heartbeats(PeriodicThread):
    """A message to each NAS that has an image here."""

    def __init__(self, store: HostStore, posted: threading.Event) -> None:
        super().__init__(
            "heartbeats",
            HEARTBEAT_SECONDS,
            self.beat,
            "the NASes could not be informed that this host is there",
        )
        self._store = store
        self._posted = posted
        self._last: Dict[str, str] = {}

    def beat(self) -> None:
        """One round. While the last message to a NAS has not been sent, as without a broker, there is no other.

        An image that is written back has no stage any more, but an open request.
        """
        working = {request.zvol for request in self._store.open_requests()}
        users = {
            str(one.details["nas"])
            for one in self._store.copies()
            if one.known.stage != "none" or one.known.zvol in working
        }
        for nas in sorted(users):
            if self._store.unsent(self._last.get(nas, "")) is None:
                self._last[nas] = self._store.report(nas, {"alive": True})
        if users:
            self._posted.set()


# --- the daemon ------------------------------------------------------------------------------------------------------


_log = logging.getLogger(__name__)

_REBUILD_SECONDS = 60.0
_REPORT_SECONDS = 30.0
STORE = Path("/var/lib/rocks/imgstorage/host.db")


class Devices(NamedTuple):
    """The device drivers of a host."""

    pools: PoolDriver
    sessions: SessionDriver
    dm_devices: DmDevices
    open_domains: OpenGuests
    read_start: Callable[[str, int], bytes] = read_start


class HostService:
    """The daemon, from `start` to `close`."""

    def __init__(
        self,
        configuration: Configuration,
        devices: Devices,
        bus_settings: BusSettings,
        identity: Identity,
        store_path: Path = STORE,
    ) -> None:
        self._configuration = configuration
        self._devices = devices
        self._identity = identity
        self._store = HostStore(store_path)
        # before the workers, which rebuild the devices of what is recorded
        self._recovered = recover_records(self._store, devices.pools, configuration.default_pool)
        self._revocations = RevocationWatch(identity.authority)
        transfers = HostTransfers(devices.pools, self._context, self._revocations)
        self._stored = StoredCopies(
            self._store,
            devices.pools,
            configuration.default_pool,
            transfers,
            lambda zvol: self._workers.reserved(zvol),
        )
        copies = CopyHandlers(
            devices.pools,
            transfers,
            configuration.name,
            lambda zvol: self._workers.reserved(zvol),
            self._stored.is_on_nas,
        )
        operations = HostHandlers(
            copies,
            DeviceHandlers(
                devices.pools, devices.sessions, devices.dm_devices, devices.read_start, self._state_of
            ),
        )
        self._mapped = MappedRecords(store_path.parent / "mapped")
        self._workers = HostWorkers(self._store, HostEngine(self._store, operations.do, self._mapped.write))
        self._watch = TempWriteWatch(self._store, devices.pools, devices.dm_devices, devices.open_domains)
        released = store_path.parent / "released"
        self._releases = ReleaseWatch(released, self._store, self._workers.posted, self._state_of)
        self._heartbeats = Heartbeats(self._store, self._workers.posted)
        # copies are read one by one; the start does not wait for that
        self._reports = threading.Thread(target=self._report_copies, name="copy reports", daemon=True)
        queue = host_queue(configuration.name)
        self._bus = Bus(bus_settings, queue, when_recorded(self._received), self._workers.posted.set)
        self._outbox_sender = OutboxSender(self._bus, self._store, self._lost, self._workers.posted)

    def start(self) -> None:
        """Rebuild the guests' devices, then accept requests."""
        self._context()
        self._revocations.start()
        self._mapped.write_all(self._store.copies())
        self._workers.start()
        self._workers.wait_until_rebuilt(Deadline(_REBUILD_SECONDS))
        self._bus.start()
        self._outbox_sender.start()
        self._reports.start()
        self._watch.start()
        self._releases.start()
        self._heartbeats.start()
        # services that start next may send requests; a broker that is away does not delay the start
        self._bus.wait_until_connected(BROKER_SECONDS)
        _log.info("%s: %d images", self._configuration.name, len(self._store.copies()))

    def close(self) -> None:
        """End; guests go on, and open requests go on at the next start."""
        self._heartbeats.close()
        self._releases.close()
        self._bus.close()
        self._workers.close()
        self._watch.close()  # last: the workers may wait for a transfer, and guests write on
        self._reports.join(_REPORT_SECONDS)
        self._revocations.close()
        self._outbox_sender.close()
        self._store.close()

    def _report_copies(self) -> None:
        try:
            report_copies(self._store, self._devices.pools, self._configuration.default_pool, self._recovered)
        except RocksError as error:
            _log.warning("retained copies could not be reported: %s", error)
        self._workers.posted.set()

    def _context(self) -> ssl.SSLContext:
        return client_context(self._identity)

    def _state_of(self, machine: str) -> GuestState:
        return guest_state(self._devices.open_domains, machine)

    def _received(self, delivery: Delivery) -> None:
        try:
            message = read_message(delivery.body)
        except NewerVersionError as error:
            if error.message.action == HOST_REQUEST:
                self._workers.reject(error.message, delivery.sender, error)
                return
            raise
        if message.action == HOST_REQUEST:
            self._workers.take(message, delivery.sender, delivery.body)
            return
        number = message.op_id or delivery.message_id
        try:
            body = self._answer(message, delivery.sender)
        except RocksError as error:
            body = write_error(message.action, error, op_id=number)
        if delivery.reply_to is not None:
            answer = OutboxMessage(
                f"answer-{delivery.message_id}", delivery.reply_to, "reply", delivery.message_id, None, body
            )
            self._store.post(answer)
            self._workers.posted.set()

    def _answer(self, message: Message, sender: str) -> bytes:
        request = read_request(message, "host")
        if sender != self._configuration.frontend_name:
            raise UserError(f"{sender} may not send that request to {self._configuration.name}")
        if isinstance(request, ListDevices):
            rows = device_rows(self._store, self._devices.dm_devices, self._devices.sessions)
            body = {volume: encode(row) for volume, row in rows.items()}
            return write_success(message.action, {"node_type": "mixed", "body": body}, op_id=message.op_id)
        if isinstance(request, ListCopies):
            return write_success(message.action, {"body": self._stored.rows()}, op_id=message.op_id)
        if isinstance(request, DelCopy):
            self._stored.remove(request.volume, request.force)
            self._workers.posted.set()
            return write_success(message.action, {}, op_id=message.op_id)
        initiator = self._devices.sessions.read_initiator()
        return write_success(message.action, {"body": initiator}, op_id=message.op_id)

    def _lost(self, message: OutboxMessage, why: RocksError) -> None:
        """A NAS without a queue never had a daemon, a client without one no longer waits: drop the message."""


class HostHandlers:
    """Performs every effect except RecordStage, which the engine performs on its records."""

    def __init__(self, copies: CopyHandlers, devices: DeviceHandlers) -> None:
        self._handlers: Dict[Name, Handler] = {**copies.handlers, **devices.handlers}

    def do(self, effect: Name, request: Optional[HostRequest], image: GrantedImage) -> Facts:
        """Perform one effect and return its facts. RocksError when it fails."""
        return self._handlers[effect](request, image)


class MappedRecords:
    """The records, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write_all(self, copies: Iterable[CopyRecord]) -> None:
        """Record these images and no others. HostError when that fails."""
        known = list(copies)
        for volume in {*record_names(self._folder)} - {copy.known.zvol for copy in known}:
            forget_mapped(self._folder, volume)
        for copy in known:
            self.write(copy)

    def write(self, copy: CopyRecord) -> None:
        """Record one image as it is, or that the host does not have it. HostError when that fails."""
        known = copy.known
        if known.stage == "none":
            forget_mapped(self._folder, known.zvol)
        else:
            write_mapped(self._folder, known.zvol, MappedImage(_device(copy), copy.image_id, known.epoch))


def _device(copy: CopyRecord) -> str:
    """The path that the guest opens: that of the session's disk for an image that is not copied."""
    known = copy.known
    if known.stage == "remote":
        address, port = copy.details["address"], copy.details["portal_port"]
        return device_path_of(str(known.target), str(address), int(port))
    return f"/dev/mapper/{guest_device(known.zvol)}"
