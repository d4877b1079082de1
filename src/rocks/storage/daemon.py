"""The frame of both daemons: read the configuration, log, notify systemd, end at SIGTERM."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Callable, NamedTuple, Protocol, Sequence

from rocks.core.errors import BusyError, RocksError
from rocks.core.files import file_error
from rocks.storage.bus import BusSettings, Delivery
from rocks.storage.configuration import PATH, Configuration, read_configuration
from rocks.storage.store.file import RecordsError
from rocks.storage.stream.transport import Identity

_log = logging.getLogger(__name__)

PKI = Path("/etc/rocks/pki")


class Settings(NamedTuple):
    """The settings of a daemon."""

    configuration: Configuration
    bus: BusSettings
    identity: Identity


class Service(Protocol):
    """A daemon's own part."""

    def start(self) -> None:
        """Begin; RocksError when it cannot."""

    def close(self) -> None:
        """End."""


def read_settings(path: Path = PATH) -> Settings:
    """The node's configuration and certificate. StateError when it has none."""
    configuration = read_configuration(path)
    pair, authority = PKI / "node.pem", PKI / "ca.crt"
    bus = BusSettings(
        node=configuration.name,
        # the name in its certificate
        address=configuration.broker_name,
        pair_file=str(pair),
        authority_file=str(authority),
    )
    return Settings(configuration, bus, Identity(pair, pair, authority))


def when_recorded(handle: Callable[[Delivery], None]) -> Callable[[Delivery], None]:
    """The handler, for messages that wait while what they bring cannot be recorded.

    Nobody sends again that a machine has ended: as a dead letter it would be lost for good.
    """

    def wait_or_handle(delivery: Delivery) -> None:
        try:
            handle(delivery)
        except RecordsError as error:
            _log.warning("%s", error)
            raise BusyError(str(error)) from error

    return wait_or_handle


def run_daemon(program: str, arguments: Sequence[str], make: Callable[[Settings], Service]) -> int:
    """Run a service until SIGTERM or SIGINT; returns the exit status, 1 when it could not start."""
    if arguments:
        print(f"usage: {program}, without arguments", file=sys.stderr)
        return 1
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    try:
        service = make(read_settings())
        service.start()
    except (RocksError, OSError) as error:
        known = error if isinstance(error, RocksError) else file_error(error)
        if known is None:
            raise
        print(f"Error: {known}", file=sys.stderr)
        return 1
    _notify_systemd("READY=1")
    ending.wait()
    _notify_systemd("STOPPING=1")
    service.close()
    return 0


def _notify_systemd(state: str) -> None:
    """sd_notify(3), where there is a notification socket."""
    place = os.environ.get("NOTIFY_SOCKET")
    if not place:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
        try:
            notifications.sendto(state.encode(), "\0" + place[1:] if place.startswith("@") else place)
        except OSError:
            pass  # the listener is gone
