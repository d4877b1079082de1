"""Configure the message broker of this machine: its certificates, its users and their rights."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.clock import utc_now
from rocks.core.errors import StateError, ToolError, UserError
from rocks.core.version import guide_page
from rocks.inventory.host_records import find_local_host, local_host
from rocks.storage.broker.definitions import definitions
from rocks.storage.broker.server import BrokerControl, read_broker_settings
from rocks.storage.volumes.access import broker_address, find_broker
from rocks.storage.volumes.nodes import storage_nodes
from rocks.storage.volumes.settings import BROKER_ATTRIBUTE
from rocks.trust.authority import AUTHORITY_FOLDER, Authority
from rocks.trust.x509 import CertificateSpec, has_address

if TYPE_CHECKING:
    from rocks.database.connection import Database

BROKER_NAME = "broker"
"""The name in the certificate of the broker; no node can have it."""

BROKER_GUIDE = guide_page("broker.md")
"""Explains certificates, and a broker on another host."""

_DAYS = 825
_RENEWED_BEFORE = timedelta(days=90)


class SyncedBroker(NamedTuple):
    """The result: the current users, and the removed ones."""

    users: tuple[str, ...]
    removed: tuple[str, ...]


def sync_broker(database: Database) -> SyncedBroker:
    """Make the broker's users exactly the hosts that have a certificate and a role in image storage.

    Issues or renews the broker's own certificate, and installs the revocation list. StateError when this machine has no
    broker, or the site's is on another host; ToolError when it is down.
    """
    elsewhere = broker_elsewhere(database)
    if elsewhere:
        raise StateError(_not_ours(elsewhere, local_host(database)))
    control = broker_control()
    if not control.is_here:
        raise StateError(
            "this machine has no message broker: install rabbitmq-server, and configure it with the output of "
            "`rocks report broker`"
        )
    authority = node_authority()
    _ensure_own_certificate(database, authority)
    changed = install_broker_certificates(authority, control)
    known = set(authority.certificates()) - {BROKER_NAME}
    nodes = [node for node in storage_nodes(database) if node.name in known]
    try:
        control.apply(definitions(nodes))
    except ToolError as error:
        raise ToolError(
            f"{error}. Its certificates are installed: start it if it is down, by systemctl start "
            "rabbitmq-server, then repeat `rocks sync broker`"
        ) from None
    names = {node.name for node in nodes}
    surplus = [user for user in control.users() if user not in names]
    removed = tuple(user for user in surplus if control.remove_user(user))
    if changed:
        control.clear_certificate_cache()
    return SyncedBroker(tuple(sorted(names)), removed)


def broker_definitions(database: Database) -> str:
    """The definitions for a broker on another host: those of `sync_broker`, with a user for each node with a role.

    A user without a certificate cannot connect.
    """
    return definitions(storage_nodes(database))


def install_broker_certificates(authority: Authority, control: BrokerControl) -> bool:
    """Install the broker's certificate and the newest revocation list; whether any file has changed.

    Does nothing before the broker has a certificate.
    """
    if BROKER_NAME not in authority.certificates():
        return False
    bundle = authority.bundle(BROKER_NAME)
    return control.install_certificates(
        {
            "ca.crt": bundle.authority,
            f"crls/{authority.list_file_name()}": bundle.revoked,
            "broker.pem": bundle.pair,
        }
    )


def node_authority() -> Authority:
    """The authority of this cluster's certificates."""
    return Authority(Path(AUTHORITY_FOLDER))


def broker_control() -> BrokerControl:
    """The broker of this machine."""
    return BrokerControl(read_broker_settings())


def own_broker(database: Database) -> BrokerControl | None:
    """The broker of this machine; None when it has none, or the site's is on another host."""
    control = broker_control()
    return control if control.is_here and not broker_elsewhere(database) else None


def broker_elsewhere(database: Database) -> str:
    """The host of the site's broker; '' for this machine."""
    node = find_local_host(database)
    server = find_broker(database, node) if node else node
    return "" if server is None or server == node else server


def _not_ours(server: str, node: str) -> str:
    """The error for a broker on another host. The file name depends on the authority, so no page can state it."""
    return (
        f"the attribute {BROKER_ATTRIBUTE} puts the message broker on {server}, and this command sets up {node} only. "
        f"For a broker on {node}: rocks remove attr {BROKER_ATTRIBUTE}. For {server}: {BROKER_GUIDE}; there, "
        f"revoked.pem becomes crls/{_list_file_name()}"
    )


def _list_file_name() -> str:
    authority = node_authority()
    try:
        return authority.list_file_name()
    except FileNotFoundError:  # no certificate has been issued
        return "HASH.r0 (HASH from openssl crl -hash)"


def _ensure_own_certificate(database: Database, authority: Authority) -> None:
    """Have a certificate that is valid for long enough and for the address at which nodes reach the broker."""
    name = local_host(database)
    address = broker_address(database, name)
    own = authority.certificates().get(BROKER_NAME)
    is_fresh = own is not None and own.expires > utc_now() + _RENEWED_BEFORE
    if is_fresh and (address == name or has_address(authority.bundle(BROKER_NAME).pair, address)):
        return
    authority.ensure(f"Image storage of {name}")
    addresses = [address] if address != name else []
    spec = CertificateSpec(
        BROKER_NAME, [name, "localhost"], [*addresses, "127.0.0.1"], _DAYS, is_service=True
    )
    authority.settle(BROKER_NAME, authority.issue(spec).serial)


def check_not_broker_name(names: list[str]) -> None:
    """UserError when a host has the name of the broker's certificate."""
    if BROKER_NAME in names:
        raise UserError(f'a host named "{BROKER_NAME}" can have no certificate: the broker has that name')
