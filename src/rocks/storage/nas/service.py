"""The NAS daemon: its parts, and the order in which they start."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Callable, ContextManager, Dict, NamedTuple, Optional, Tuple

from rocks.core.errors import BugError, IncoherentError, RocksError
from rocks.storage.bus import Bus, BusSettings, Delivery
from rocks.storage.configuration import PORTAL_PORT, STREAM_PORT, Configuration, storage_address
from rocks.storage.daemon import BROKER_SECONDS, OutboxSender, when_recorded
from rocks.storage.image import transfers
from rocks.storage.image.effects import AskHost, Effect
from rocks.storage.image.events import HostFailed, Restarted, Unmap
from rocks.storage.image.grants import check_speaker
from rocks.storage.image.image import Facts, Image, Work
from rocks.storage.iscsi.names import ChapSecrets
from rocks.storage.iscsi.target import Portal, Targets
from rocks.storage.nas.bases import Bases
from rocks.storage.nas.command_requests import Commands, Site, UnchangedEngine, end, unchanged
from rocks.storage.nas.engine import Engine, NasContext, Perform, ProgressBoard, Scheduler
from rocks.storage.nas.exports import ExportHandlers, Exports, SecretsOf
from rocks.storage.nas.hosts import HostCorrespondence, HostPresence, event_of
from rocks.storage.nas.lost_records import Comparison
from rocks.storage.nas.moves import Arrivals, Moves
from rocks.storage.nas.snapshots import SnapshotExpiry, SnapshotHandlers
from rocks.storage.nas.transfers import NasTransfers
from rocks.storage.nas.volumes import Imports, OpenDevice, VolumeHandlers, open_device
from rocks.storage.store.file import OutboxMessage
from rocks.storage.store.nas import NasStore
from rocks.storage.stream.transport import (
    Connection,
    Identity,
    RevocationWatch,
    StreamServer,
    client_context,
    connect,
    server_context,
)
from rocks.storage.wire.messages import HOST_ANSWER, HOST_NEWS, HOST_REQUEST, Message, read_message
from rocks.storage.wire.names import nas_queue
from rocks.storage.wire.requests import ACTIONS
from rocks.storage.zfs.pool import PoolDriver

_log = logging.getLogger(__name__)

STORE = Path("/var/lib/rocks/imgstorage/nas.db")


class Devices(NamedTuple):
    """The device drivers of a NAS."""

    pools: PoolDriver
    targets: Targets
    open_device: OpenDevice = open_device


class NasService:
    """The daemon, from `start` to `close`."""

    def __init__(
        self,
        configuration: Configuration,
        devices: Devices,
        bus_settings: BusSettings,
        identity: Identity,
        store_path: Path = STORE,
        stream_port: int = STREAM_PORT,
        resolve: Callable[[str, str], str] = storage_address,
    ) -> None:
        """`resolve` finds a node's address on the storage network."""
        self._configuration = configuration
        self._devices = devices
        node, network = configuration.name, configuration.network
        self._resolve = resolve
        self._address = resolve(node, network)
        self._store = NasStore(store_path)
        self._progress = ProgressBoard()
        self._presence = HostPresence(self._store)
        self._stream_port = stream_port
        self._identity = identity
        self._revocations = RevocationWatch(identity.authority)
        self._server: Optional[StreamServer] = None
        portal = Portal(self._address, PORTAL_PORT)
        perform = NasHandlers(devices.pools, devices.targets, portal, self._secrets_of).do
        self._create_engine(perform)
        self._create_transfers(perform)
        limits = transfers.Limits(configuration.transfers, configuration.transfers)
        self._scheduler = Scheduler(self._engine, self._store, self._hosts, limits, self._presence.look)
        self._comparison = Comparison(self._engine, devices.pools, node, configuration.default_pool)
        self._snapshot_expiry = SnapshotExpiry(self._engine, devices.pools, self._comparison.go_on)
        received = when_recorded(self._received)
        self._bus = Bus(bus_settings, nas_queue(node), received, self._engine.posted.set)
        self._outbox_sender = OutboxSender(self._bus, self._store, self._lost, self._engine.posted)

    def _create_engine(self, perform: Perform) -> None:
        """What keeps the records of images and carries out their steps."""
        self._hosts = HostCorrespondence(
            self._store,
            self._configuration.name,
            self._address,
            PORTAL_PORT,
            self._stream_port,
            lambda: self._engine.images(),
            self._devices.targets.read_secrets,
        )
        self._engine = Engine(
            self._store,
            perform,
            self._ask_host,
            lambda image, outcome: self._commands.publish(image, outcome),
            self._changed,
            lambda image, work, effect: self._moves.begin(image, work, effect),
            self._hosts.secrets_of,
        )
        self._exports = Exports(self._engine, perform, self._devices.targets, self._secrets_of)

    def _create_transfers(self, perform: Perform) -> None:
        """What transfers images, and the commands, which begin imports and moves."""
        open_device = self._devices.open_device
        context = NasContext(self._devices.pools, self._engine, self._store, self._progress)
        self._commands, self._arrivals, imports, bases = self._create_commands(context, perform)
        self._transfers = NasTransfers(context, self._hosts, imports, bases, self._arrivals)
        self._moves = Moves(context, open_device, self._connect)

    def _create_commands(
        self, context: NasContext, perform: Perform
    ) -> Tuple[Commands, Arrivals, Imports, Bases]:
        node, frontend = self._configuration.name, self._configuration.frontend_name
        arrivals = Arrivals(context, perform, node, self._devices.open_device)
        imports = Imports(context, frontend, self._devices.open_device, arrivals.check_free)
        bases = Bases(context.pools, imports, frontend, node)
        site = Site(node, frontend, lambda host: self._resolve(host, self._configuration.network))
        commands = Commands(
            context, imports, self._presence, arrivals, bases, self._exports, site, self._create_checking
        )
        return commands, arrivals, imports, bases

    def _create_checking(self) -> Commands:
        """Commands that end before their first change."""
        pools, targets = unchanged(self._devices.pools), unchanged(self._devices.targets)
        perform = NasHandlers(pools, targets, Portal(self._address, PORTAL_PORT), secrets_of=end).do
        engine = UnchangedEngine(self._engine, perform)
        context = NasContext(pools, engine, unchanged(self._store), self._progress)
        return self._create_commands(context, perform)[0]

    def start(self) -> None:
        """Compare records and volumes, restore the exports, go on with open work, and accept requests.

        RocksError when it cannot start.
        """
        self._comparison.begin()
        self._exports.rebuild(self._comparison.unread)
        self._arrivals.tidy(self._comparison.read)
        server_context(self._identity)  # fail now when it is unusable
        self._server = StreamServer(
            lambda: server_context(self._identity),
            self._address,
            self._stream_port,
            self._transfers.serve,
            2 * self._configuration.transfers,
            self._revocations,
        )
        self._revocations.start()
        for image in self._engine.images():
            self._engine.take(image.image_id, Restarted())
            self._engine.wake(image.image_id)
        self._bus.start()
        self._outbox_sender.start()
        self._scheduler.start()
        self._snapshot_expiry.start()
        self._exports.start()
        # services that start next may send requests; a broker that is away does not delay the start
        self._bus.wait_until_connected(BROKER_SECONDS)
        _log.info("%s: %d images", self._configuration.name, len(self._engine.images()))

    def close(self) -> None:
        """End; open work continues at the next start."""
        self._exports.close()
        self._snapshot_expiry.close()
        self._moves.close()
        self._scheduler.close()
        self._bus.close()
        if self._server is not None:
            self._server.close()
            self._revocations.close()
        self._engine.close()
        self._outbox_sender.close()
        self._store.close()

    def _connect(self, nas: str, opening: bytes) -> ContextManager[Connection]:
        """A connection to another NAS."""
        address = self._resolve(nas, self._configuration.network)
        context = client_context(self._identity)
        return connect(context, address, self._stream_port, nas, opening, self._revocations)

    def _changed(self, image_id: str) -> None:
        self._transfers.end_rejected(image_id)
        self._moves.end_overtaken(image_id)

    # --- messages

    def _received(self, delivery: Delivery) -> None:
        message = read_message(delivery.body)
        if message.action in (HOST_ANSWER, HOST_NEWS):
            self._presence.note(delivery.sender, is_heartbeat="alive" in message.fields)
        if message.action == HOST_NEWS and "alive" in message.fields:
            return
        if message.action == HOST_NEWS and "released" in message.fields:
            self._released(message, delivery.sender)
        elif message.action in (HOST_ANSWER, HOST_NEWS):
            image_id, event = event_of(message, delivery.sender)
            self._hosts.note_secrets(self._engine.image(image_id), message, delivery.sender)
            if isinstance(event, HostFailed):
                event = self._transfers.explained(image_id, event)
            self._engine.take(image_id, event)
        elif message.action in ACTIONS or message.action != HOST_REQUEST:
            self._commands.handle(
                message, delivery.sender, message.op_id or delivery.message_id, delivery.reply_to
            )
        else:
            raise IncoherentError(f"{delivery.sender} sent a NAS a request for hosts")

    def _released(self, message: Message, sender: str) -> None:
        """A host reports that the machine of an image has ended: unmap the image.

        Unless it was mapped for a newer lease meanwhile: the machine was stopped and started at once.
        """
        image = self._engine.image(message.image_id)
        if image is None or check_speaker(image, sender, message.epoch) is not None:
            return
        token = message.fields.get("token")
        if isinstance(token, int) and image.lease_token is not None and token < image.lease_token:
            _log.info(
                "%s: the machine of lease %d has ended; lease %d has the image",
                image.zvol,
                token,
                image.lease_token,
            )
            return
        # one number for all reports of the host: else each report would be recorded until the image is unmapped
        self._engine.take(image.image_id, Unmap(f"release-{image.image_id}.{message.epoch}"))

    def _ask_host(self, image: Image, work: Work, effect: AskHost) -> None:
        self._hosts.ask(image, work, effect)

    def _lost(self, lost: OutboxMessage, why: RocksError) -> None:
        """A host without a queue never had a daemon: the step fails at once."""
        message = read_message(lost.body)
        if message.action != HOST_REQUEST:
            return
        image_id, _, work_id = message.op_id.rpartition(".")
        image = self._engine.image(image_id)
        if image is not None and image.owner is not None:
            text = f"Compute node {image.owner} is unavailable: {why}"
            self._engine.take(image_id, HostFailed(work_id, image.owner, message.epoch, "host", text))

    def _secrets_of(self, target: str) -> Optional[ChapSecrets]:
        image = next((one for one in self._engine.images() if one.target == target), None)
        return None if image is None else self._hosts.secrets_of(image)


class NasHandlers:
    """Performs every effect except AskHost and those between two NASes. Repeating one changes nothing."""

    def __init__(self, pools: PoolDriver, targets: Targets, portal: Portal, secrets_of: SecretsOf) -> None:
        self._handlers: Dict[type, Callable[..., Facts]] = {
            **VolumeHandlers(pools).handlers,
            **SnapshotHandlers(pools).handlers,
            **ExportHandlers(pools, targets, portal, secrets_of).handlers,
        }

    def do(self, effect: Effect) -> Facts:
        """Perform one effect and return its facts. RocksError when it fails."""
        handler = self._handlers.get(type(effect))
        if handler is None:
            raise BugError(f"the NAS has no handler for {type(effect).__name__}; please report this")
        return handler(effect)
