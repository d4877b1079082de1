"""The message broker's configuration and the rights of its users, as documents. Pure.

A user of the broker is a node, and only a certificate with its name authenticates it. It may make and read the queues
of its own roles, and write only to the queues to which its roles send.
RabbitMQ 3.10 of Debian 12; comments mark where it differs from its documentation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from rocks.core.dataclasses import dataclass
from rocks.storage.wire import names

TAG = "img-storage"
"""Tag of the users that this system manages; others are never changed."""

PLUGINS = ("rabbitmq_auth_mechanism_ssl",)

LONGEST_QUEUE_MESSAGES = 10_000
LONGEST_QUEUE_BYTES = 64 * 1024 * 1024
MAX_DELIVERIES = 20
"""After so many deliveries, each ended by its consumer's death, a message becomes a dead letter."""

_MAX_DEAD_LETTERS = 1_000
_DEAD_LETTER_MS = 30 * 24 * 3600 * 1000
_LOG_BYTES = 16 * 1024 * 1024
_CONNECTIONS_OF_USER = 32
_CHANNELS_OF_USER = 128
_HEARTBEAT_SECONDS = 30

_MAY_WRITE_TO = {
    names.FRONTEND: (names.NAS, names.HOST),
    names.NAS: (names.HOST, "reply"),
    names.HOST: (names.NAS, "reply"),
}


@dataclass(frozen=True)
class BrokerNode:
    """A node with a certificate, and its roles, of those in `rocks.storage.wire.names`."""

    name: str
    roles: frozenset[str]


@dataclass(frozen=True)
class BrokerPlace:
    """Addresses of the broker, and its files.

    `pki_folder` has ca.crt, broker.pem (its certificate and key) and the folder crls, readable by the broker's user.
    Above `memory_bytes` in memory it blocks senders; below `free_disk_bytes` of free space it accepts no messages.
    """

    addresses: tuple[str, ...]
    port: int = names.PORT
    pki_folder: str = "/etc/rabbitmq/rocks"
    memory_bytes: int = 512 * 1024 * 1024
    free_disk_bytes: int = 512 * 1024 * 1024


def rabbitmq_conf(place: BrokerPlace) -> str:
    """rabbitmq.conf: no listener without TLS, authentication by certificate only, bounds."""
    settings = {
        "listeners.tcp": "none",
        "auth_mechanisms.1": "EXTERNAL",
        "ssl_cert_login_from": "common_name",
        "heartbeat": _HEARTBEAT_SECONDS,
        "vm_memory_high_watermark.absolute": place.memory_bytes,
        "disk_free_limit.absolute": place.free_disk_bytes,
        # its default, 512 MB, is also the memory that it uses
        "raft.wal_max_size_bytes": 32 * 1024 * 1024,
        "log.console": "false",
        # each connection that fails has lines there, and Debian's logrotate looks at it once a day
        "log.file.rotation.size": _LOG_BYTES,
        "log.file.rotation.count": 4,
    }
    return "".join(f"{name} = {value}\n" for name, value in settings.items())


def advanced_config(place: BrokerPlace) -> str:
    """advanced.config: the listeners, since rabbitmq.conf has no setting for revoked certificates.

    Erlang reads the revocation list in the folder at each handshake, so a new list is effective at once. Without a
    list, or with an expired one, no client can connect.
    """
    folder = place.pki_folder
    listeners = ", ".join(f"{{{_erlang_text(address)}, {place.port}}}" for address in place.addresses)
    options = (
        f"{{cacertfile, {_erlang_text(folder + '/ca.crt')}}}",
        f"{{certfile, {_erlang_text(folder + '/broker.pem')}}}",
        f"{{keyfile, {_erlang_text(folder + '/broker.pem')}}}",
        "{versions, ['tlsv1.3', 'tlsv1.2']}",
        "{verify, verify_peer}",
        "{fail_if_no_peer_cert, true}",
        "{depth, 1}",
        "{crl_check, true}",
        f"{{crl_cache, {{ssl_crl_hash_dir, {{internal, [{{dir, {_erlang_text(folder + '/crls')}}}]}}}}}}",
    )
    text = ",\n    ".join(options)
    return f"[{{rabbit, [\n  {{ssl_listeners, [{listeners}]}},\n  {{ssl_options, [\n    {text}]}}]}}].\n"


def enabled_plugins() -> str:
    """The file enabled_plugins."""
    return f"[{','.join(PLUGINS)}].\n"


def definitions(nodes: Iterable[BrokerNode]) -> str:
    """Input of `rabbitmqctl import_definitions`: exchanges, the dead letters, bounds, and a user for each node.

    The import adds and replaces; a user that is missing here stays in the broker and must be deleted there.
    """
    users = sorted(nodes, key=lambda node: node.name)
    everything = {
        "vhosts": [{"name": names.VIRTUAL_HOST}],
        "users": [_user(node) for node in users],
        "permissions": [_permissions(node) for node in users],
        "topic_permissions": [_topic_permissions(node) for node in users],
        "exchanges": [_exchange(names.EXCHANGE, "topic"), _exchange(names.DEAD_EXCHANGE, "fanout")],
        "queues": [
            {
                "name": names.DEAD_QUEUE,
                "vhost": names.VIRTUAL_HOST,
                "durable": True,
                "auto_delete": False,
                "arguments": {"x-queue-type": "quorum"},
            }
        ],
        "bindings": [_dead_binding()],
        "policies": _policies(),
    }
    return json.dumps(everything, indent=1) + "\n"


def _user(node: BrokerNode) -> dict[str, Any]:
    # With an empty hash no password is valid; the mechanisms with passwords are disabled as well.
    return {
        "name": node.name,
        "password_hash": "",
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": [TAG],
        "limits": {"max-connections": _CONNECTIONS_OF_USER, "max-channels": _CHANNELS_OF_USER},
    }


def _permissions(node: BrokerNode) -> dict[str, Any]:
    own = _own_queues(node)
    # To bind a queue, a user needs write access to it and read access to the exchange.
    with_exchange = _any_of([*own, re.escape(names.EXCHANGE)])
    return {
        "user": node.name,
        "vhost": names.VIRTUAL_HOST,
        "configure": _any_of(own),
        "write": with_exchange,
        "read": with_exchange,
    }


def _topic_permissions(node: BrokerNode) -> dict[str, Any]:
    """The routing keys to which the node may write, and for which it may bind a queue."""
    kinds = sorted({kind for role in node.roles for kind in _MAY_WRITE_TO[role]})
    write = f"^img-storage\\.({'|'.join(kinds)})\\." if kinds else "^$"
    return {
        "user": node.name,
        "vhost": names.VIRTUAL_HOST,
        "exchange": names.EXCHANGE,
        "write": write,
        "read": _any_of(_own_queues(node)),
    }


def _own_queues(node: BrokerNode) -> list[str]:
    name = re.escape(node.name)
    own = [rf"img-storage\.{role}\.{name}" for role in (names.NAS, names.HOST) if role in node.roles]
    if names.FRONTEND in node.roles:
        own.append(rf"img-storage\.reply\.{name}\.[0-9a-f]{{32}}")
    return own


def _any_of(expressions: Sequence[str]) -> str:
    return f"^({'|'.join(expressions)})$" if expressions else "^$"


def _exchange(name: str, kind: str) -> dict[str, Any]:
    return {
        "name": name,
        "vhost": names.VIRTUAL_HOST,
        "type": kind,
        "durable": True,
        "auto_delete": False,
        "internal": False,
        "arguments": {},
    }


def _dead_binding() -> dict[str, Any]:
    return {
        "source": names.DEAD_EXCHANGE,
        "vhost": names.VIRTUAL_HOST,
        "destination": names.DEAD_QUEUE,
        "destination_type": "queue",
        "routing_key": "",
        "arguments": {},
    }


def _policies() -> list[dict[str, Any]]:
    """Bounds as policies, not as arguments of the queues: they can change without new queues."""
    requests = {
        "max-length": LONGEST_QUEUE_MESSAGES,
        "max-length-bytes": LONGEST_QUEUE_BYTES,
        "overflow": "reject-publish",
        "delivery-limit": MAX_DELIVERIES,
        "dead-letter-exchange": names.DEAD_EXCHANGE,
        "dead-letter-strategy": "at-least-once",
    }
    dead = {
        "max-length": _MAX_DEAD_LETTERS,
        # a message that is too large becomes one, too, and the broker takes up to 128 MiB
        "max-length-bytes": LONGEST_QUEUE_BYTES,
        "overflow": "drop-head",
        "message-ttl": _DEAD_LETTER_MS,
    }
    replies = {"max-length": 1_000, "max-length-bytes": 16 * 1024 * 1024, "overflow": "drop-head"}
    policies = (
        ("img-storage-requests", r"^img-storage\.(nas|host)\.", requests),
        ("img-storage-dead", f"^{re.escape(names.DEAD_QUEUE)}$", dead),
        ("img-storage-replies", r"^img-storage\.reply\.", replies),
    )
    return [
        {
            "name": name,
            "vhost": names.VIRTUAL_HOST,
            "pattern": pattern,
            "apply-to": "queues",
            "definition": definition,
            "priority": 0,
        }
        for name, pattern, definition in policies
    ]


def _erlang_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
