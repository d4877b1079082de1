"""What of a site is ready, and the command that does what is not: the database, this frontend, and the hosts."""

from __future__ import annotations

import shutil
import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.actions.certificates import list_certificates
from rocks.actions.host_requests import ask_each
from rocks.actions.message_broker import BROKER_NAME, broker_control, broker_elsewhere
from rocks.actions.storage_nodes import storage_nodes
from rocks.database.attributes import global_attributes
from rocks.database.hosts import find_local_host
from rocks.database.interfaces import list_interfaces
from rocks.database.lease_epoch import read_epoch, read_record
from rocks.database.vms import physical_hosts
from rocks.errors import RocksError
from rocks.hosts.settings import FleetSettings
from rocks.render.broker import TAG
from rocks.wire.facts import ProbeRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rocks.database.connection import Database

OK, WRONG, MISSING = "ok", "wrong", "missing"
HOST_SECONDS = 15.0
"""For each host's answer; all are asked at once."""

_LEAST_FREE_BYTES = 1 << 30


class SiteCheck(NamedTuple):
    """A line of the report: the subject, `OK`, `WRONG` or `MISSING`, and what was found or what to run."""

    subject: str
    result: str
    detail: str


def check_site(database: Database, settings: FleetSettings | None = None) -> Iterator[SiteCheck]:
    """Check the site; each check is independent of the others, and an error in one is its result.

    Without a frontend in the database, only that is reported, since all else depends on it.
    """
    fleet = settings or FleetSettings()
    frontend = find_local_host(database)
    if frontend is None:
        yield SiteCheck("frontend", MISSING, "this machine is not in the database: rocks create site")
        return
    checks: dict[str, Callable[[], Iterable[SiteCheck]]] = {
        "interfaces": partial(_interfaces, database, frontend),
        "attributes": partial(_attributes, database),
        "key": partial(_key, fleet),
        "space": partial(_space, database),
        "broker": partial(_broker, database, frontend),
        "certificates": partial(_certificates, database),
        "leases": partial(_leases, database),
        "hosts": partial(_hosts, database, frontend),
    }
    for subject, check in checks.items():
        try:
            yield from check()
        except RocksError as error:
            yield SiteCheck(subject, WRONG, str(error))


def _interfaces(database: Database, frontend: str) -> Iterator[SiteCheck]:
    rows = [row for row in list_interfaces(database, [frontend]) if row[4]]
    if not rows:
        yield SiteCheck("frontend", MISSING, f"no address: rocks add host interface {frontend}")
    for _, network, device, _, ip, *_ in rows:
        found = _has_address(str(ip))
        text = f"{ip} on the network {network}"
        yield SiteCheck(
            f"interface {device}",
            OK if found else WRONG,
            text if found else f"{text}: this machine does not have the address",
        )


def _has_address(ip: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((ip, 0))
        except OSError:
            return False
    return True


def _attributes(database: Database) -> Iterator[SiteCheck]:
    present = global_attributes(database)
    for name in ("vm_mac_base_addr", "vm_mac_base_addr_mask"):
        if not present.get(name):
            yield SiteCheck(
                f"attribute {name}", MISSING, "machines get no MAC addresses: rocks report vm nextmac"
            )


def _key(fleet: FleetSettings) -> Iterator[SiteCheck]:
    if Path(fleet.key_file).exists():
        yield SiteCheck("key", OK, fleet.key_file)
    else:
        yield SiteCheck("key", MISSING, "made by the first rocks sync host sharedkey HOST")


def _space(database: Database) -> Iterator[SiteCheck]:
    state = Path(database.settings.state_folder).absolute()
    folder = next(path for path in (state, *state.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    text = f"{free / 2**30:.1f} GiB free in {folder}"
    yield SiteCheck("space", OK if free >= _LEAST_FREE_BYTES else WRONG, text)


def _broker(database: Database, frontend: str) -> Iterator[SiteCheck]:
    nodes = [node.name for node in storage_nodes(database)]
    if not nodes:
        yield SiteCheck("broker", OK, "not needed: no host takes part in image storage")
        return
    elsewhere = broker_elsewhere(database)
    if elsewhere:
        yield SiteCheck("broker", OK, f"on {elsewhere}, not checked from here")
        return
    control = broker_control()
    if not control.is_here:
        profile = f"rocks report host profile {frontend} | bash"
        yield SiteCheck(
            "broker", MISSING, f"{profile} installs and configures it; see operator's guide, section 8"
        )
        return
    database.end_reading()  # the broker may take its time
    missing = sorted(set(nodes) - set(control.users(TAG)))
    yield SiteCheck(
        "broker",
        WRONG if missing else OK,
        f"no user for {', '.join(missing)}: rocks sync broker" if missing else f"{len(nodes)} users",
    )


def _certificates(database: Database) -> Iterator[SiteCheck]:
    nodes = {node.name for node in storage_nodes(database)}
    known = {found.host: found for found in list_certificates(database, None)}
    for name in sorted(nodes - known.keys()):
        yield SiteCheck(f"certificate {name}", MISSING, f"rocks add host certificate {name}")
    for name, found in known.items():
        if name != BROKER_NAME:
            yield SiteCheck(
                f"certificate {name}",
                OK if found.state == "good" else WRONG,
                f"until {found.expires}"
                if found.state == "good"
                else f"{found.state}: rocks list host certificate",
            )


def _leases(database: Database) -> Iterator[SiteCheck]:
    if read_epoch(database).follows(read_record(database)):
        yield SiteCheck("leases", OK, "the database is the one that granted the last lease")
    else:
        yield SiteCheck(
            "leases",
            WRONG,
            "the database is new here or was restored: the next start, or rocks sync vm lease, asks the hosts",
        )


def _hosts(database: Database, frontend: str) -> Iterator[SiteCheck]:
    names = [name for name in physical_hosts(database) if name != frontend]
    for name, answer in sorted(ask_each(database, {name: ProbeRequest() for name in names}, HOST_SECONDS)):
        if isinstance(answer, RocksError):
            yield SiteCheck(f"host {name}", WRONG, str(answer))
        else:
            yield SiteCheck(f"host {name}", OK, f"guests run by {answer.accelerator}: {answer.reason}")
