"""The message broker's configuration and the rights of its users, as documents. Pure. Source: specification §2.5.

A user of the broker is a node, and comes in by the certificate that carries its name and by nothing else. It may make
and read the queues of its own roles, and write to those queues only to which its roles have something to say.
RabbitMQ 3.10 of Debian 12; what it does otherwise than its documents say stands beside the line that minds it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rocks.wire import queues

TAG = "img-storage"
"""Tag of the broker's users that are ours; others are never touched."""

PLUGINS = ("rabbitmq_auth_mechanism_ssl",)

LONGEST_QUEUE_MESSAGES = 10_000
LONGEST_QUEUE_BYTES = 64 * 1024 * 1024
MOST_DELIVERIES = 20
"""So often a message may come back because its reader died; then it goes to the dead letters."""

_DEAD_LETTERS_KEPT = 1_000
_DEAD_LETTERS_KEPT_MS = 30 * 24 * 3600 * 1000
_CONNECTIONS_OF_USER = 32
_CHANNELS_OF_USER = 128
_HEARTBEAT_SECONDS = 30

_MAY_WRITE_TO = {
    queues.FRONTEND: (queues.NAS, queues.HOST),
    queues.NAS: (queues.HOST, "reply"),
    queues.HOST: (queues.NAS, "reply"),
}


@dataclass(frozen=True)
class BrokerNode:
    """A node that has a certificate, and its roles, of `rocks.wire.queues.ROLES`."""

    name: str
    roles: frozenset[str]


@dataclass(frozen=True)
class BrokerPlace:
    """Where the broker listens, and where its files are.

    `pki_folder` has ca.crt, broker.pem (its certificate and key) and the folder crls, readable by the broker's user.
    `memory_bytes` is where it makes senders wait, `free_disk_bytes` where it stops taking messages.
    """

    addresses: tuple[str, ...]
    port: int = queues.PORT
    pki_folder: str = "/etc/rabbitmq/rocks"
    memory_bytes: int = 512 * 1024 * 1024
    free_disk_bytes: int = 512 * 1024 * 1024


def rabbitmq_conf(place: BrokerPlace) -> str:
    """rabbitmq.conf: no listener without TLS, no way in but by certificate, bounds."""
    settings = {
        "listeners.tcp": "none",
        "auth_mechanisms.1": "EXTERNAL",
        "ssl_cert_login_from": "common_name",
        "heartbeat": _HEARTBEAT_SECONDS,
        "vm_memory_high_watermark.absolute": place.memory_bytes,
        "disk_free_limit.absolute": place.free_disk_bytes,
        # its default, 512 MB, is kept in memory as well
        "raft.wal_max_size_bytes": 32 * 1024 * 1024,
        "log.console": "false",
    }
    return "".join(f"{name} = {value}\n" for name, value in settings.items())


def advanced_config(place: BrokerPlace) -> str:
    """advanced.config: the listeners; rabbitmq.conf has no words for certificates that were revoked.

    Erlang looks for the list of revoked certificates in the folder anew at each handshake, so a new one counts
    at once. Without one, or when it has expired, nobody comes in.
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
    """What `rabbitmqctl import_definitions` takes: exchanges, the dead letters, bounds, and a user for each node.

    Importing adds and replaces; a user that is missing here stays in the broker and must be deleted there.
    """
    users = sorted(nodes, key=lambda node: node.name)
    everything = {
        "vhosts": [{"name": queues.VIRTUAL_HOST}],
        "users": [_user(node) for node in users],
        "permissions": [_permissions(node) for node in users],
        "topic_permissions": [_topic_permissions(node) for node in users],
        "exchanges": [_exchange(queues.EXCHANGE, "topic"), _exchange(queues.DEAD_EXCHANGE, "fanout")],
        "queues": [_dead_queue()],
        "bindings": [_dead_binding()],
        "policies": _policies(),
    }
    return json.dumps(everything, indent=1) + "\n"


def _user(node: BrokerNode) -> dict[str, Any]:
    # An empty hash is no password: the mechanisms that take one are off, and would refuse it as well.
    return {
        "name": node.name,
        "password_hash": "",
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": [TAG],
        "limits": {"max-connections": _CONNECTIONS_OF_USER, "max-channels": _CHANNELS_OF_USER},
    }


def _permissions(node: BrokerNode) -> dict[str, Any]:
    own = _own_queues(node)
    # Binding a queue needs to write to it and to read from the exchange.
    with_exchange = _any_of([*own, re.escape(queues.EXCHANGE)])
    return {
        "user": node.name,
        "vhost": queues.VIRTUAL_HOST,
        "configure": _any_of(own),
        "write": with_exchange,
        "read": with_exchange,
    }


def _topic_permissions(node: BrokerNode) -> dict[str, Any]:
    """To which queues the node may write (routing keys), and for which it may bind one."""
    kinds = sorted({kind for role in node.roles for kind in _MAY_WRITE_TO[role]})
    write = f"^img-storage\\.({'|'.join(kinds)})\\." if kinds else "^$"
    return {
        "user": node.name,
        "vhost": queues.VIRTUAL_HOST,
        "exchange": queues.EXCHANGE,
        "write": write,
        "read": _any_of(_own_queues(node)),
    }


def _own_queues(node: BrokerNode) -> list[str]:
    name = re.escape(node.name)
    own = [rf"img-storage\.{role}\.{name}" for role in (queues.NAS, queues.HOST) if role in node.roles]
    if queues.FRONTEND in node.roles:
        own.append(rf"img-storage\.reply\.{name}\.[0-9a-f]{{32}}")
    return own


def _any_of(expressions: Sequence[str]) -> str:
    return f"^({'|'.join(expressions)})$" if expressions else "^$"


def _exchange(name: str, kind: str) -> dict[str, Any]:
    return {
        "name": name,
        "vhost": queues.VIRTUAL_HOST,
        "type": kind,
        "durable": True,
        "auto_delete": False,
        "internal": False,
        "arguments": {},
    }


def _dead_queue() -> dict[str, Any]:
    return {
        "name": queues.DEAD_QUEUE,
        "vhost": queues.VIRTUAL_HOST,
        "durable": True,
        "auto_delete": False,
        "arguments": {"x-queue-type": "quorum"},
    }


def _dead_binding() -> dict[str, Any]:
    return {
        "source": queues.DEAD_EXCHANGE,
        "vhost": queues.VIRTUAL_HOST,
        "destination": queues.DEAD_QUEUE,
        "destination_type": "queue",
        "routing_key": "",
        "arguments": {},
    }


def _policies() -> list[dict[str, Any]]:
    """Bounds as policies, not as arguments of the queues: they can be changed without making queues anew."""
    requests = {
        "max-length": LONGEST_QUEUE_MESSAGES,
        "max-length-bytes": LONGEST_QUEUE_BYTES,
        "overflow": "reject-publish",
        "delivery-limit": MOST_DELIVERIES,
        "dead-letter-exchange": queues.DEAD_EXCHANGE,
        "dead-letter-strategy": "at-least-once",
    }
    dead = {"max-length": _DEAD_LETTERS_KEPT, "overflow": "drop-head", "message-ttl": _DEAD_LETTERS_KEPT_MS}
    replies = {"max-length": 1_000, "max-length-bytes": 16 * 1024 * 1024, "overflow": "drop-head"}
    wanted = (
        ("img-storage-requests", r"^img-storage\.(nas|host)\.", requests),
        ("img-storage-dead", f"^{re.escape(queues.DEAD_QUEUE)}$", dead),
        ("img-storage-replies", r"^img-storage\.reply\.", replies),
    )
    return [
        {
            "name": name,
            "vhost": queues.VIRTUAL_HOST,
            "pattern": pattern,
            "apply-to": "queues",
            "definition": definition,
            "priority": 0,
        }
        for name, pattern, definition in wanted
    ]


def _erlang_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
