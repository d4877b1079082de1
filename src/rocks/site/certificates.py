"""Certificates that authenticate hosts to the message broker and to each other: issue, deploy, revoke.

To revoke a certificate takes both the list and the deletion of the broker's user: RabbitMQ reads the list at
each handshake and ends nothing that is open, while a deleted user is disconnected, but its old certificate
works again when the user is made anew. Refused: `rabbitmq_trust_store`, which reads its list every 30 s, and
short-lived certificates, which make storage depend on a daily job.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rocks.core import dry_run
from rocks.core.clock import utc_now
from rocks.core.errors import BusyError, HostError, RocksError, StateError, UserError
from rocks.core.process import run
from rocks.fleet.connection import FleetSettings, HostAddress
from rocks.fleet.host_files import files_archive
from rocks.fleet.openssh import arguments_on
from rocks.fleet.run_parallel import run_parallel
from rocks.install.boot.files import boot_facts
from rocks.inventory.address_records import host_addresses
from rocks.inventory.host_records import local_host
from rocks.storage.broker.broker import (
    BROKER_NAME,
    broker_elsewhere,
    check_not_broker_name,
    install_broker_certificates,
    node_authority,
    own_broker,
)
from rocks.storage.volumes.nodes import hosts_without_right, is_storage_used, storage_nodes
from rocks.trust.x509 import CertificateInfo, CertificateSpec, read_certificates

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from rocks.database.connection import Database

CERTIFICATE_DAYS = 825
LONGEST_CERTIFICATE_DAYS = 3650
"""How long the certificate of a host is valid."""

NOT_ALLOWED = "not allowed"
_SOON = timedelta(days=30)
_MARGIN_SECONDS = 5.0
NODE_FOLDER = "/etc/rocks/pki"
"""Folder of a node's own certificate: node.pem (0600, with its key), ca.crt, revoked.pem."""

DEADLINE_SECONDS = 30.0

# For the host's sh: the folder, then the files in order. All are on the host before the first gets its name.
_SCRIPT = """\
umask 077 && folder=$1 && shift && mkdir -p -m 755 "$folder" && new=$(mktemp -d "$folder/.new.XXXXXX") &&
trap 'rm -rf "$new"' EXIT && tar -x -p -f - -C "$new" && sync &&
for file; do mv -f "$new/$file" "$folder/" || exit; done
"""


class ListedCertificate(NamedTuple):
    """A host's certificate for people: `expires` is a day.

    `state` is one of good, not deployed, expires soon, expired, not allowed (a virtual machine has it).
    """

    host: str
    serial: str
    expires: str
    state: str


def add_certificates(
    database: Database, names: Sequence[str], days: int, replace: bool
) -> list[CertificateInfo]:
    """Issue a certificate for each host. StateError for hosts that have a valid one, unless `replace`.

    StateError for hosts that must not have one: virtual machines, and hosts without a role in image storage.
    The old certificate stays valid until the new one is deployed. After an error, no certificate is issued.
    """
    if not 1 <= days <= LONGEST_CERTIFICATE_DAYS:
        raise UserError(f"days must be from 1 to {LONGEST_CERTIFICATE_DAYS}, not {days}")
    check_not_broker_name(list(names))
    without = hosts_without_right(database, names, broker_elsewhere(database))
    if without:
        raise StateError(
            f"no certificate is issued: {'; '.join(f'{name} {reason}' for name, reason in without.items())}; "
            "name physical hosts: rocks add host certificate HOST"
        )
    authority = node_authority()
    known = authority.certificates()
    good = [name for name in names if name in known and known[name].expires > utc_now() + _SOON]
    if good and not replace:
        raise StateError(
            f"{', '.join(good)} has a certificate until {known[good[0]].expires:%Y-%m-%d}; to replace it: "
            f"rocks add host certificate {' '.join(good)} replace=yes"
        )
    # an address that equals the name stands for one that is not known
    addresses = {
        one.name: [one.address] * (one.address != one.name) for one in host_addresses(database, names)
    }
    for facts in boot_facts(database, names):  # those for the installer
        addresses[facts.host] += [facts.address] if facts.address else []
    authority.ensure(f"Image storage of {local_host(database)}")
    return [authority.issue(CertificateSpec(name, [name], addresses[name], days)) for name in names]


def certify_storage_hosts(database: Database, names: Sequence[str]) -> list[str]:
    """Issue a certificate for each of the hosts that image storage needs and that has none; all that have one then.

    Without a NAS, no host needs one.
    """
    if not is_storage_used(storage_nodes(database)):
        return []
    without = hosts_without_right(database, names, broker_elsewhere(database))
    there = {one.name for one in host_addresses(database, names)}  # one may have been removed meanwhile
    allowed = [name for name in names if name in there and name not in without]
    missing = [name for name in allowed if not has_certificate(name)]
    if missing:
        add_certificates(database, missing, CERTIFICATE_DAYS, replace=False)
    return allowed


def list_certificates(database: Database, names: Sequence[str] | None) -> list[ListedCertificate]:
    """The certificates of the named hosts; None: all certificates, also of removed hosts."""
    authority = node_authority()
    known = authority.certificates()
    without = hosts_without_right(database, list(known), broker_elsewhere(database))
    listed = []
    for name, certificate in known.items():
        if name != BROKER_NAME and (names is None or name in names):
            state = NOT_ALLOWED if name in without else _state(certificate, authority.is_deployed(name))
            expires = f"{certificate.expires:%Y-%m-%d}"
            listed.append(ListedCertificate(name, certificate.serial_text, expires, state))
    return listed


def deploy_certificates(
    database: Database, names: Sequence[str]
) -> Iterator[tuple[str, list[CertificateInfo] | RocksError]]:
    """Deploy each host's newest certificate; yields (host, older certificates that this revoked, or the error).

    The broker gets the revocation list at the end. Nodes get it by `deploy_revocation_list`, these hosts too: the list
    that was deployed with the certificate is older than the revocation.
    """
    chosen = FleetSettings()
    without = hosts_without_right(database, names, broker_elsewhere(database))
    allowed = [name for name in names if name not in without]
    hosts = {host.name: host for host in host_addresses(database, allowed)}
    control = own_broker(database)
    database.commit()
    known = node_authority().certificates() if without else {}
    for name, reason in without.items():
        remedy = f"; rocks remove host certificate {name}" if name in known else ""
        yield name, StateError(f"{name} must have no certificate: it {reason}{remedy}")
    jobs = {name: partial(_deploy, host, chosen) for name, host in hosts.items()}
    with _locked(database, hosts) as deadlines:
        yield from run_parallel(jobs, threads=chosen.threads, deadline_seconds=deadlines)
    if control is not None:  # also what a command has revoked that was killed
        install_broker_certificates(node_authority(), control)


def check_broker_answers(database: Database, names: Sequence[str]) -> None:
    """StateError when one of the hosts has a certificate and the broker of this machine does not answer."""
    known = node_authority().certificates()
    control = own_broker(database) if any(name in known for name in names) else None
    if control is None:
        return
    database.end_reading()  # the broker may take its time
    try:
        control.users()
    except RocksError as error:
        raise StateError(
            f"the message broker, which would end the connections of {', '.join(n for n in names if n in known)}, does "
            f"not answer ({error}): start it, then repeat this command"
        ) from None


def has_certificate(name: str) -> bool:
    """Whether the host has a certificate of the site's authority."""
    return name != BROKER_NAME and node_authority().has(name)


def remove_certificates(
    database: Database, names: Sequence[str], broker_failed: Callable[[BusyError], None]
) -> dict[str, list[CertificateInfo]]:
    """Revoke all certificates of the hosts, and end their connections to the broker; host → revoked certificates.

    Hosts without a certificate are skipped. Commits before it contacts the broker, and contacts it even if the commit
    fails. `broker_failed` gets the error of a broker that did not answer: the certificates are revoked all the same.
    """
    control = own_broker(database)
    authority = node_authority()
    hosts = [name for name in names if name != BROKER_NAME]  # the broker's own is no host's
    revoked = {name: info for name in hosts if (info := authority.revoke(name))}
    if not revoked or control is None:
        return revoked
    try:
        database.commit()  # a revoked certificate stays so, and the broker may take its time
    finally:
        try:
            install_broker_certificates(authority, control)
            for name in revoked:
                control.remove_user(name)
        except RocksError as error:
            broker_failed(
                BusyError(
                    f"revoked: {', '.join(revoked)}; but their connections to the broker stay open, since the broker "
                    f"did not answer ({error}): start it, then run `rocks sync broker`"
                )
            )
    return revoked


def deploy_revocation_list(
    database: Database, has_revoked: bool, passing_over: Collection[str] = ()
) -> dict[str, RocksError]:
    """Deploy the revocation list to all nodes with a certificate: their daemons then end open transfers.

    A node whose newest certificate is not deployed yet uses the one before, and gets the list as well. Returns the
    errors by node. Unless this command `has_revoked`, only a list is deployed that a killed one has left.
    """
    authority = node_authority()
    if not has_revoked and authority.is_list_deployed():
        return {}
    without = {BROKER_NAME, *passing_over}
    names = [
        name for name in authority.certificates() if name not in without and authority.has_any_deployed(name)
    ]
    chosen = FleetSettings()
    hosts = {host.name: host for host in host_addresses(database, names)} if names else {}
    database.commit()
    jobs = {name: partial(_deploy_list, host, chosen) for name, host in hosts.items()}
    with _locked(database, hosts) as deadlines:
        digest = authority.list_digest()
        answers = run_parallel(jobs, threads=chosen.threads, deadline_seconds=deadlines)
        failures = {name: answer for name, answer in answers if isinstance(answer, RocksError)}
    authority.list_deployed(digest)  # the failures have a remedy of their own
    return failures


@contextlib.contextmanager
def _locked(database: Database, hosts: Collection[str]) -> Iterator[dict[str, float]]:
    """No other command deploys to these hosts meanwhile, which could bring an older list later; host → its deadline.

    BusyError while one does for longer than that.
    """
    locks, seconds = [f"certificate {name}" for name in hosts], DEADLINE_SECONDS + _MARGIN_SECONDS
    database.lock_all(locks, seconds)
    try:
        yield dict.fromkeys(hosts, seconds)
    finally:
        database.unlock_all(locks)


def _deploy_list(host: HostAddress, settings: FleetSettings) -> None:
    deploy(host, settings, {"revoked.pem": node_authority().bundle(host.name).revoked}, NODE_FOLDER)


def _deploy(host: HostAddress, settings: FleetSettings) -> list[CertificateInfo]:
    authority = node_authority()
    if dry_run.is_on() and not authority.has(host.name):  # it would have been issued
        dry_run.would(host.name, f"write node.pem, ca.crt, revoked.pem in {NODE_FOLDER}")
        return []
    bundle = authority.bundle(host.name)
    files = {"ca.crt": bundle.authority, "revoked.pem": bundle.revoked, "node.pem": bundle.pair}
    deploy(host, settings, files, NODE_FOLDER)
    return authority.settle(host.name, read_certificates(bundle.pair)[0].serial)


def _state(certificate: CertificateInfo, is_deployed: bool) -> str:
    now = utc_now()
    if certificate.expires <= now:
        return "expired"
    if not is_deployed:
        return "not deployed"
    return "expires soon" if certificate.expires <= now + _SOON else "good"


def deploy(host: HostAddress, settings: FleetSettings, files: Mapping[str, bytes], folder: str) -> None:
    """Write the files (of node.pem, ca.crt and revoked.pem) into the folder on the host, in that order.

    HostError when that fails.
    """
    if dry_run.would(host.name, f"write {', '.join(files)} in {folder}"):
        return
    arguments = arguments_on(host, settings, ["sh", "-c", _SCRIPT, "sh", folder, *files])
    data = files_archive(files, public=("ca.crt", "revoked.pem"))
    finished = run(arguments, deadline_seconds=DEADLINE_SECONDS, standard_input=data)
    if finished.exit_status != 0:
        reason = (finished.error_text or "the script printed nothing").splitlines()[-1]
        raise HostError(f"{', '.join(files)} cannot be deployed to host {host.name}: {reason}")
