"""Consoles of owners: the serial line or the screen of a machine, over the connection of the request."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from rocks.core.errors import RocksError, StateError
from rocks.database.connection import Database
from rocks.fleet.relay import relay
from rocks.machine.consoles import connect_console, find_console
from rocks.site.airboss import records as table
from rocks.site.airboss.audit import log_call
from rocks.site.airboss.rules import Shares

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from rocks.database.settings import Settings
    from rocks.site.airboss.audit import OwnerCall

CHECK_SECONDS = 5.0
"""How often an open console looks whether its key and its machine are still the cluster's."""

_STALLED_SECONDS = 60.0
_OF_ONE, _OF_ALL = 8, 64


class Consoles:
    """The open consoles of all clusters, a bounded number."""

    def __init__(self, settings: Settings, log: Callable[[str], None]) -> None:
        self._settings, self._log = settings, log
        self._shares = Shares(_OF_ONE, _OF_ALL, "open consoles")

    def open(
        self, database: Database, name: str, cluster: str, fingerprint: str, is_serial: bool, call: OwnerCall
    ) -> ConsoleStream:
        """Open the console of a machine. StateError when it does not run or has none, or beyond the bounds.

        The stream ends when the cluster has that key or that machine no more.
        """
        opened = ExitStack()
        opened.enter_context(self._shares.held(cluster))
        try:
            address, console = find_console(database, name)
            database.close()
            descriptor = connect_console(opened, name, address, console, is_serial)
        except (RocksError, OSError) as error:
            self._log(f"console of {name}: {error}")
            opened.close()
            raise StateError(
                f"{name} does not run, or has no such console; list host macs status=yes shows its state"
            ) from None
        except BaseException:
            opened.close()
            raise
        opened.callback(log_call, call, "closed")
        return ConsoleStream(descriptor, partial(self._is_allowed, name, cluster, fingerprint), opened)

    def _is_allowed(self, name: str, cluster: str, fingerprint: str) -> bool:
        try:
            with Database(self._settings) as database:
                keys = table.keys_by_fingerprint(database, fingerprint)
                machines = table.machines_of(database, cluster)
        except RocksError as error:
            self._log(f"console of {name} is closed: {error}")
            return False
        return any(key.cluster == cluster for key in keys) and any(one.name == name for one in machines)


class ConsoleStream:
    """An open console: the server carries its bytes, and closes it."""

    def __init__(self, descriptor: int, is_still_allowed: Callable[[], bool], opened: ExitStack) -> None:
        self._descriptor, self._is_still_allowed, self._opened = descriptor, is_still_allowed, opened

    def run(self, connection: socket.socket) -> None:
        """Carry bytes both ways until one end closes, or the cluster must not have the console any more."""
        relay(connection, self._descriptor, self._is_still_allowed, CHECK_SECONDS, _STALLED_SECONDS)

    def close(self) -> None:
        """End the program or the way to the screen."""
        self._opened.close()
