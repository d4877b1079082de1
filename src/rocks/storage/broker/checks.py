"""What of the message broker of this machine is ready: it runs, listens by TLS alone, and has its users and rights."""

from __future__ import annotations

import json
import socket
import ssl
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from rocks.core.check_lines import MISSING, OK, WRONG, SiteCheck
from rocks.core.clock import utc_now
from rocks.core.errors import HostError, RocksError
from rocks.core.names import counted
from rocks.fleet.connection import DownError
from rocks.storage.broker.broker import (
    BROKER_GUIDE,
    BROKER_NAME,
    broker_control,
    broker_elsewhere,
    node_authority,
)
from rocks.storage.broker.definitions import definitions
from rocks.storage.volumes.access import broker_address
from rocks.storage.volumes.nodes import is_storage_used, storage_nodes
from rocks.storage.wire.names import VIRTUAL_HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rocks.database.connection import Database
    from rocks.storage.broker.definitions import BrokerNode
    from rocks.storage.broker.server import BrokerControl

_UPGRADE_GUIDE = f"{BROKER_GUIDE.rpartition('/guide/')[0]}/packaging.md"
"""What becomes of the broker's data, which a newer RabbitMQ may not be able to start."""

_SYNC = "rocks sync broker"
_SOON = timedelta(days=30)
_SECONDS = 5.0


def check_broker(database: Database, frontend: str) -> Iterator[SiteCheck]:
    """Check the broker: one line if it is ready, not needed or on another host, else a line for each fault."""
    nodes = storage_nodes(database)
    if not is_storage_used(nodes):
        yield SiteCheck("broker", OK, "not needed: the site has no NAS")
        return
    elsewhere = broker_elsewhere(database)
    if elsewhere:
        yield SiteCheck("broker", OK, f"on {elsewhere}, not checked from here")
        return
    control = broker_control()
    profile = f"rocks report host profile {frontend} | bash"
    if not control.is_here:
        yield SiteCheck("broker", MISSING, f"{profile} installs and configures it; see {BROKER_GUIDE}")
        return
    address = broker_address(database, frontend)
    database.end_reading()  # the broker may take its time
    known = node_authority().certificates()
    ready = [node for node in nodes if node.name in known]
    faults = [SiteCheck("broker", WRONG, fault) for fault in _faults(control, ready, address, profile)]
    yield from faults or [SiteCheck("broker", OK, f"runs, and has {counted(len(ready), 'user')}")]


def _faults(control: BrokerControl, nodes: Sequence[BrokerNode], address: str, profile: str) -> Iterator[str]:
    try:
        listeners = control.listeners()
    except RocksError as error:
        if BROKER_NAME in node_authority().certificates():
            yield (
                f"{error}: systemctl start rabbitmq-server.service; if it does not start, {profile}; after an upgrade "
                f"from Debian 12, see {_UPGRADE_GUIDE}"
            )
        else:
            yield f"{error}: {_SYNC}, then {profile}, then {_SYNC} again; see {BROKER_GUIDE}"
        return
    ports = [one.port for one in listeners if one.protocol == "amqp/ssl"]
    open_ports = [f"{one.interface}:{one.port}" for one in listeners if one.protocol == "amqp"]
    if open_ports:
        yield f"it listens without TLS ({', '.join(open_ports)}): {profile}"
    checks: dict[str, Callable[[], Iterable[str]]] = {
        "users and rights": partial(_wrong_rights, control, nodes),
        "TLS": partial(_wrong_tls, ports, address, profile),
    }
    for subject, check in checks.items():
        try:
            yield from check()
        except RocksError as error:
            yield f"{subject} cannot be checked: {error}; {_SYNC}"


def _wrong_tls(ports: Sequence[int], address: str, profile: str) -> Iterator[str]:
    if not ports:
        yield f"it does not listen by TLS: {_SYNC}, then {profile}"
        return
    if BROKER_NAME not in node_authority().certificates():
        yield f"it has no certificate: {_SYNC}, then {profile}"
        return
    try:
        expires = _certificate_expiry(address, ports[0], node_authority().bundle(BROKER_NAME).authority)
    except RocksError as error:
        yield f"{error}: {_SYNC}, then {profile}"
    else:
        if expires < utc_now() + _SOON:
            yield f"its certificate expires on {expires:%Y-%m-%d}: {_SYNC}"


def _wrong_rights(control: BrokerControl, nodes: Sequence[BrokerNode]) -> Iterator[str]:
    if VIRTUAL_HOST not in control.virtual_hosts():
        yield f"it has no virtual host {VIRTUAL_HOST}: {_SYNC}"
        return
    names, users = {node.name for node in nodes}, set(control.users())
    if names - users:
        yield f"no user for {', '.join(sorted(names - users))}: {_SYNC}"
    if users - names:
        yield f"users of nodes without a certificate or role: {', '.join(sorted(users - names))}: {_SYNC}"
    expected = json.loads(definitions(nodes))
    for kind in ("permissions", "topic_permissions"):
        rights = {
            one["user"]: (one.get("configure", ""), one["write"], one["read"]) for one in control.rights(kind)
        }
        for right in expected[kind]:
            needed = (right.get("configure", ""), right["write"], right["read"])
            if right["user"] in users and rights.get(right["user"]) != needed:
                yield f"{right['user']} has other {kind.replace('_', ' ')} than it needs: {_SYNC}"


def _certificate_expiry(address: str, port: int, authority: bytes) -> datetime:
    """When the certificate expires that the service presents at the address; it must name the address.

    `authority` is the PEM certificate of the authority. DownError when nothing answers, HostError when the service does
    not prove by such a certificate that it is the one.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority.decode("ascii"))
    try:
        with (
            socket.create_connection((address, port), _SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=address) as secured,
        ):
            certificate = secured.getpeercert() or {}
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or error.reason or str(error)
        raise HostError(f"no TLS with a certificate of the site at {address}:{port}: {reason}") from None
    except OSError as error:
        raise DownError(f"nothing answers at {address}:{port}: {error.strerror or error}") from None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
