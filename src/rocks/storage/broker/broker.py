"""The message broker of this machine: its certificates, its users and their rights, its control and its checks."""

from __future__ import annotations

import grp
import json
import os
import shlex
import socket
import ssl
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rocks.core import dry_run
from rocks.core.check_lines import MISSING, OK, WRONG, SiteCheck
from rocks.core.clock import utc_now
from rocks.core.errors import HostError, RocksError, StateError, ToolError, UserError
from rocks.core.files import write_file
from rocks.core.names import counted
from rocks.core.process import Finished, run
from rocks.core.settings_file import read_settings_text
from rocks.core.version import guide_page
from rocks.fleet.connection import DownError
from rocks.inventory.host_records import find_local_host, local_host
from rocks.storage.broker.definitions import TAG, definitions
from rocks.storage.volumes.access import broker_address, find_broker
from rocks.storage.volumes.nodes import is_storage_used, storage_nodes
from rocks.storage.volumes.settings import BROKER_ATTRIBUTE
from rocks.storage.wire.names import VIRTUAL_HOST
from rocks.trust.authority import AUTHORITY_FOLDER, Authority
from rocks.trust.x509 import CertificateSpec, has_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rocks.database.connection import Database
    from rocks.storage.broker.definitions import BrokerNode


BROKER_CONFIGURATION = "/etc/rocks/broker.conf"
_DEADLINE_SECONDS = 180.0  # it starts an Erlang machine, which took 60 s at a load of 20
_EXIT_NO_USER = 67
"""Exit status of `rabbitmqctl` for an unknown user (EX_NOUSER of sysexits.h, RabbitMQ 3.7 and later)."""


class BrokerSettings(NamedTuple):
    """How to reach the broker of this machine: `program` controls it, `group` owns the files in `pki_folder`."""

    program: str = "/usr/sbin/rabbitmqctl"
    pki_folder: str = "/etc/rabbitmq/rocks"
    group: str = "rabbitmq"


def read_broker_settings(path: str = BROKER_CONFIGURATION) -> BrokerSettings:
    """The settings of the file, lines `key = value`, and the defaults. StateError for an invalid line."""
    file = Path(path)
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    try:
        return BrokerSettings()._replace(**read_settings_text(text, BrokerSettings._fields, path))
    except ValueError as error:
        raise StateError(str(error)) from None


_SIGNS_OF_DOWN = (
    "unable to perform an operation on node",
    "unable to connect to node",
    "nodedown",
    "Distribution failed",  # there is not even Erlang's port mapper: it was never started
)
"""What rabbitmqctl (3.10 to 3.13) prints, with pages of diagnostics, when the broker is down."""

_NO_PORT_MAPPER = "-start_epmd false"
"""For Erlang: else each command starts a port mapper where none runs, which stays and listens on every address."""


class Listener(NamedTuple):
    """Where the broker listens: protocol `amqp/ssl`, `amqp` (without TLS), or another one."""

    interface: str
    port: int
    protocol: str


class BrokerControl:
    """The broker of this machine. Each failed command raises ToolError with the broker's own message."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings

    @property
    def is_here(self) -> bool:
        """Whether a broker is installed on this machine."""
        return Path(shlex.split(self._settings.program)[0]).exists()

    def install_certificates(self, files: dict[str, bytes]) -> bool:
        """Write these files for root and the broker only; returns whether any has changed.

        Names are relative to the folder. The broker reads the list of revoked certificates at each connection. It
        reads the other files at its start and after `clear_certificate_cache`.
        """
        group = self._group_id()
        changed = False
        with self._certificate_folder(group) as folder:
            for name, data in files.items():
                path = folder / name
                try:
                    if path.parent != folder and not dry_run.is_on():
                        path.parent.mkdir(mode=0o750, exist_ok=True)
                        os.chown(path.parent, -1, group)
                    if path.exists() and path.read_bytes() == data:
                        continue
                except OSError as error:
                    place = Path(self._settings.pki_folder, name)
                    raise HostError(f"cannot write {place}: {error.strerror}") from None
                write_file(path, data, mode=0o640, group=group)
                changed = True
        return changed

    @contextmanager
    def _certificate_folder(self, group: int) -> Iterator[Path]:
        """The folder, kept open: it lies in one of the broker's user, who may put a link in its place at any moment.

        HostError for a folder of another user.
        """
        folder = Path(self._settings.pki_folder)
        if dry_run.is_on():
            yield folder
            return
        descriptor = -1
        try:
            folder.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            with suppress(FileExistsError):
                folder.mkdir(mode=0o750)
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            if os.fstat(descriptor).st_uid != os.geteuid():
                raise HostError(
                    f"{folder} belongs to another user, who could read the broker's key: remove it"
                )
            os.fchown(descriptor, -1, group)
            yield Path(f"/proc/self/fd/{descriptor}")
        except OSError as error:
            raise HostError(
                f"cannot write {folder}: {error.strerror}; it must be a folder of root's"
            ) from None
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def clear_certificate_cache(self) -> None:
        """Make the broker read its certificates again; Erlang caches them for two minutes."""
        if not dry_run.would(dry_run.HERE, "have the message broker read its certificates again"):
            self._control("eval", "ssl:clear_pem_cache().")

    def apply(self, definitions: str) -> None:
        """Import these definitions; other objects of the broker stay."""
        if not dry_run.would(dry_run.HERE, "import users and permissions into the message broker"):
            self._control("import_definitions", standard_input=definitions.encode("utf-8"))

    def users(self) -> list[str]:
        """Names of the users of image storage."""
        return sorted(user["user"] for user in self._listed("list_users") if TAG in user["tags"])

    def listeners(self) -> list[Listener]:
        """Where the broker listens. ToolError when it is down."""
        found = self._listed("status")["listeners"]
        return [Listener(str(one["interface"]), int(one["port"]), str(one["protocol"])) for one in found]

    def virtual_hosts(self) -> list[str]:
        """Names of the virtual hosts."""
        return [host["name"] for host in self._listed("list_vhosts")]

    def rights(self, kind: str) -> list[dict[str, str]]:
        """The permissions or topic_permissions in the virtual host of image storage, each with user, write and read."""
        return list(self._listed(f"list_{kind}", "--vhost", VIRTUAL_HOST))

    def remove_user(self, name: str) -> bool:
        """Delete the user and close its connections. Returns False when there is no such user."""
        if dry_run.would(dry_run.HERE, f"remove the user {name} of the message broker"):
            return True
        return self._control("delete_user", name, accepted=(0, _EXIT_NO_USER)).exit_status == 0

    def _listed(self, *arguments: str) -> Any:
        """What a command of rabbitmqctl lists. ToolError when that is not JSON."""
        with dry_run.reading():
            text = self._control(*arguments, "--formatter", "json").text
        try:
            return json.loads(text)
        except ValueError:
            raise ToolError(
                f"the message broker answered {arguments[0]} with something else than JSON"
            ) from None

    def _control(
        self, *arguments: str, standard_input: bytes = b"", accepted: tuple[int, ...] = (0,)
    ) -> Finished:
        program = shlex.split(self._settings.program)
        finished = run(
            [*program, "--quiet", *arguments],
            deadline_seconds=_DEADLINE_SECONDS,
            standard_input=standard_input,
            environment={**os.environ, "ERL_FLAGS": _NO_PORT_MAPPER},
        )
        if finished.exit_status not in accepted and any(
            sign in finished.error_text for sign in _SIGNS_OF_DOWN
        ):
            raise ToolError("the message broker of this machine does not run")
        if finished.exit_status not in accepted:
            lines = [line.strip() for line in finished.error_text.splitlines() if line.strip()]
            reason = " ".join(lines[:3]).removeprefix("Error:").strip() or "it printed nothing"
            raise ToolError(f"the message broker failed to {arguments[0]}: {reason}")
        return finished

    def _group_id(self) -> int:
        group = self._settings.group
        if group.isdecimal():
            return int(group)
        try:
            return grp.getgrnam(group).gr_gid
        except KeyError:
            raise StateError(
                f"this machine has no group {group}: install rabbitmq-server, which makes it"
            ) from None


# --- configure the broker: its certificates, its users and their rights --------------------------------------------


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


# --- checks: the broker runs, listens by TLS alone, and has its users and rights -----------------------------------


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
