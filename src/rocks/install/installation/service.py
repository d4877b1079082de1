"""The service that gives installing hosts their files and takes their reports: who asks, what it gets, secrets once."""

from __future__ import annotations

import threading
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from rocks.core.errors import HostError, RocksError, StateError, UserError
from rocks.database.connection import Database
from rocks.fleet.connection import FleetSettings
from rocks.fleet.https.apart import serve
from rocks.fleet.https.server import (
    RETRY_AFTER_SECONDS,
    Answer,
    Bounds,
    HttpsServer,
    Request,
    file_answer,
    open_below,
)
from rocks.fleet.wire.end_reports import ENDED_PATH
from rocks.install.boot.files import (
    FIRST_STAGE,
    FIRST_STAGE_FOLDER,
    FIRST_STAGE_PATH,
    KERNEL,
    MACS,
    tftp_folder,
)
from rocks.install.graph_files import Library
from rocks.install.host_profiles import load_sites, write_profile
from rocks.install.installation.installations import (
    DISTRIBUTION_PATH,
    PROFILE_PATH,
    PROGRESS_PATH,
    Offer,
    installation_plan,
    take_report,
)
from rocks.install.installation.states import (
    MAY_FETCH_PROFILE,
    InstallingHost,
    check_is_to_be_installed,
    check_port_of_root,
    find_installation,
    identify,
    is_attached,
    neighbour_mac,
    stated_macs,
)
from rocks.install.node_documents import DocumentOptions, installer_file, profile_of_document, site_document
from rocks.install.rolls.content import DEBS, INSTALLER, RPMS
from rocks.install.rolls.distribution import KEY
from rocks.install.rolls.folders import distribution_folder
from rocks.inventory.address_records import private_address
from rocks.inventory.attributes.secret_records import read_of_hosts
from rocks.inventory.host_records import local_host
from rocks.machine.stop import read_names, take_ended
from rocks.storage.broker.broker import node_authority
from rocks.trust.secrets import is_for_hosts, record_handed_out
from rocks.trust.x509 import has_address

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DEFAULT_PORT, FIRST_STAGE_PORT = 443, 80
_ALL_ADDRESSES = "0.0.0.0"
_ARP, _ROUTES = Path("/proc/net/arp"), Path("/proc/net/route")
_PATHS = {
    "/install/kickstart": "kickstart",
    "/install/sbin/kickstart.cgi": "kickstart",
    "/install/sbin/public/kickstart.cgi": "kickstart",
    "/install/preseed": "preseed",
    "/install/plan": "plan",
    PROFILE_PATH: "profile",
    "/install/secrets": "secrets",
}
"""Path → what it gives; the second is that of Rocks' boot actions."""

_OF_ROOT = ("plan", "profile", "secrets")
"""Only for ports of root, except a profile with the number of the installation in its path, which the roll's installer
knows. The installers of RHEL and Debian cannot choose their port, so their files are for every user."""

_SERVED = (DEBS, RPMS.partition("/")[0], "repodata", INSTALLER)
"""Folders of a distribution that hosts read, besides its public key. The others have the site's node files."""


_BOUNDS = Bounds(workers=2 * Bounds().per_address)
"""A host that asks for its profile without end occupies half of the workers at most."""

_MAX_HOSTS_ASKED = 2
_hosts_asked: set[str] = set()
_ASKED_LOCK = threading.Lock()
"""Hosts that are asked which of their machines have ended, one question each: a silent one keeps no more workers."""


def create_service(
    database: Database,
    address: str,
    port: int,
    log: Callable[[str], None],
    terminate: Callable[[Sequence[str]], None] | None = None,
    configured: Callable[[str], None] | None = None,
) -> HttpsServer:
    """The service on this frontend, with the frontend's certificate. StateError when it has none.

    `address` empty: that of the frontend on the network private. `terminate` releases the resources of machines that
    have ended by themselves; `configured` gets the name of a host that is configured for the first time since its
    installation; both return at once. Each request has a connection of its own to the
    database. HostError when the address and port are not free.
    """
    name = local_host(database)
    bundle = node_authority().bundle(name)
    offered = address if address not in ("", _ALL_ADDRESSES) else private_address(database, name).address
    if not address and not has_address(bundle.pair, offered):
        log(
            f"the certificate of {name} is not for the address {offered}, so the roll's installer will not accept it: "
            f"rocks add host certificate {name} replace=yes, then start this service again"
        )
    settings, folder = database.settings, distribution_folder(database)
    database.end_reading()
    offer = Offer(f"https://{offered}" + (f":{port}" if port != DEFAULT_PORT else ""), FleetSettings())

    def answer(request: Request) -> Answer:
        try:
            mac = mac_of_client(request.address)
        except HostError as error:
            return _refusal(request, error)
        with Database(settings) as own:
            return answer_request(own, request, mac, offer, folder, terminate, configured)

    def renewed() -> bytes:
        return node_authority().bundle(name).pair

    try:
        return HttpsServer((address or offered, port), bundle.pair, answer, log, _BOUNDS, renewed)
    except HostError as error:
        raise HostError(
            f"{error}; another program may have the port, or this service itself: ss -ltnp, and systemctl status "
            "rocks-kickstart"
        ) from None


def answer_request(
    database: Database,
    request: Request,
    mac: str,
    offer: Offer,
    folder: Path,
    terminate: Callable[[Sequence[str]], None] | None = None,
    configured: Callable[[str], None] | None = None,
) -> Answer:
    """The answer to a client, or a page that says why it gets none.

    `mac` is the neighbour's, or ''. `folder` holds the distributions. `terminate` and `configured` are those of
    `create_service`.
    """
    try:
        if request.method == "POST" and request.path == ENDED_PATH:
            return _take_ended(database, request, mac, terminate)
        if request.method == "POST":
            return _take_post(database, request, mac, offer, configured)
        if request.path.startswith(DISTRIBUTION_PATH):
            _identified(database, request, mac)
            return _file_of_distribution(request, folder)
        kind, number = _asked(request.path)
        if kind is None:
            known = ", ".join((*_PATHS, DISTRIBUTION_PATH))
            return _page(404, request, f"there is no {request.path[:80]} here, only {known}")
        host = _identified(database, request, mac)
        _check_is_allowed(database, request, host, kind, number)
        text = _text(database, host.name, kind, offer)
    except RocksError as error:
        return _refusal(request, error)
    return Answer(200, "text/plain; charset=utf-8", text.encode())


def _identified(database: Database, request: Request, mac: str) -> InstallingHost:
    host = _host_at(database, request.address)
    return identify(request.address, mac, stated_macs(request.headers), host)


def _asked(path: str) -> tuple[str | None, str]:
    """What a path gives, and the number of the installation in it, which only that of a profile has."""
    kind, number = _PATHS.get(path), path.removeprefix(f"{PROFILE_PATH}/")
    return ("profile", number) if kind is None and number != path else (kind, "")


def _check_is_allowed(
    database: Database, request: Request, host: InstallingHost, kind: str, number: str
) -> None:
    """StateError or UserError unless the host may have this now; its profile, until that has succeeded.

    Other users of an installed host do not know the number, without which they would get its profile, too.
    """
    if kind in _OF_ROOT and not number:
        check_port_of_root(request.port)
    if number:
        found = find_installation(database, host.name)
        if found is None or found.number != number:
            raise StateError(
                f"this is not the current installation of {host.name}; on the frontend: "
                f"rocks list host install {host.name}"
            )
        if found.state in MAY_FETCH_PROFILE:
            return
    check_is_to_be_installed(host)


def _take_post(
    database: Database,
    request: Request,
    mac: str,
    offer: Offer,
    configured: Callable[[str], None] | None,
) -> Answer:
    if not request.path.startswith(PROGRESS_PATH):
        return _page(404, request, f"nothing is posted to {request.path[:80]}, only to {PROGRESS_PATH}")
    host = _identified(database, request, mac)
    number = request.path.removeprefix(PROGRESS_PATH)
    if take_report(database, host.name, number, request.body, offer) and configured is not None:
        configured(host.name)
    return Answer(200, "text/plain; charset=utf-8", b"")


def _take_ended(
    database: Database, request: Request, mac: str, terminate: Callable[[Sequence[str]], None] | None
) -> Answer:
    """The names of the machines whose leases are released, one a line. They are asked of the host by SSH before."""
    check_port_of_root(request.port)
    host = _identified(database, request, mac)
    names = read_names(request.body)
    with _ASKED_LOCK:
        if host.name in _hosts_asked or len(_hosts_asked) >= _MAX_HOSTS_ASKED:
            raise HostError("a report of ended machines is being handled; send the report again")
        _hosts_asked.add(host.name)
    try:
        gone = take_ended(database, host.name, names, terminate)
    except RocksError as error:  # the host is not to blame, and reports it once more
        raise HostError(str(error)) from None
    finally:
        with _ASKED_LOCK:
            _hosts_asked.discard(host.name)
    return Answer(200, "text/plain; charset=utf-8", "".join(f"{name}\n" for name in gone).encode())


def _file_of_distribution(request: Request, folder: Path) -> Answer:
    path = request.path.removeprefix(DISTRIBUTION_PATH)
    parts = unquote(path, errors="surrogateescape").split("/")
    is_served = parts[2:] == [KEY] or (len(parts) > 3 and parts[2] in _SERVED)
    found = open_below(folder, path) if is_served else None
    if found is None:
        return _page(404, request, f"the distribution has no file {path[:200]}")
    return file_answer(found, request.headers)


def mac_of_client(address: str) -> str:
    """The MAC address that the kernel has for a client; '' for one behind a router.

    HostError when it cannot be read, or the kernel has none for a machine of an attached network. Such a one stopped
    answering ARP after it connected, perhaps so that only the MAC address counts that it states itself.
    """
    try:
        mac = neighbour_mac(_ARP.read_text("ascii", "replace"), address)
        is_neighbour = is_attached(_ROUTES.read_text("ascii", "replace"), address)
    except (OSError, ValueError) as error:
        raise HostError(f"the MAC address of {address} cannot be read: {error}") from None
    if is_neighbour and not mac:
        raise HostError(
            f"the MAC address of {address} is not known now, although it is on an attached network"
        )
    return mac


def _text(database: Database, name: str, kind: str, offer: Offer) -> str:
    if kind == "secrets":
        return _secrets(database, name)
    (site,) = load_sites(database, [name])
    if kind == "plan":
        return installation_plan(database, site, offer)
    if kind == "profile":
        return write_profile(site, Library())
    return installer_file(profile_of_document(site_document(site, DocumentOptions())), kind)


def _secrets(database: Database, name: str) -> str:
    """The host's own secret attributes, as lines of `name:value`, without those that only the frontend uses.

    StateError when they were handed out before. They are recorded as handed out before they leave: a client that loses
    the answer gets no second one.
    """
    rows = read_of_hosts(database, [name])
    record_handed_out(database.settings, name)
    return "".join(f"{attribute}:{value}\n" for _, attribute, value, _ in rows if is_for_hosts(attribute))


def _refusal(request: Request, error: RocksError) -> Answer:
    if isinstance(error, UserError | StateError):
        return _page(403, request, str(error))
    return _page(503, request, str(error), {"Retry-After": str(RETRY_AFTER_SECONDS)})


def _page(status: int, request: Request, reason: str, headers: dict[str, str] | None = None) -> Answer:
    body = (
        "<!DOCTYPE html>\n<html><head><title>KickstartError</title></head><body>\n<h1>KickstartError</h1>\n"
        f"<p>Client {escape(request.address)}: {escape(reason)}.</p>\n</body></html>\n"
    )
    return Answer(status, "text/html; charset=utf-8", body.encode(), headers or {}, reason=reason)


def create_first_stage_service(database: Database, log: Callable[[str], None]) -> HttpsServer | None:
    """Kernel and installer by plain HTTP, on the frontend's address on the network private.

    They are nobody's secret, and TFTP is many times slower. None, and a line, when another service has the port:
    machines then use TFTP.
    """
    address = private_address(database, local_host(database)).address
    database.end_reading()

    def answer(request: Request) -> Answer:
        name = request.path.removeprefix(FIRST_STAGE_PATH)
        found = None
        if request.method == "GET" and name in FIRST_STAGE:
            found = open_below(tftp_folder() / FIRST_STAGE_FOLDER, name)
        if found is None:
            return _page(
                404, request, f"there is no {request.path[:80]} here, only {FIRST_STAGE_PATH}{KERNEL}"
            )
        return file_answer(found, request.headers)

    try:
        return HttpsServer((address, FIRST_STAGE_PORT), None, answer, log, Bounds())
    except HostError as error:
        log(f"{error}: machines fetch kernel and installer by TFTP, which is slower")
        return None


def run_services(services: Sequence[HttpsServer]) -> None:
    """Serve until the process is interrupted; a process without rights reads what clients send."""
    serve(services)


def _host_at(database: Database, address: str) -> InstallingHost | None:
    """The host with the address on the network private; None when there is none or several."""
    rows = database.rows(
        f"SELECT n.Name, {MACS}, b.Action FROM networks x JOIN subnets s ON s.ID = x.Subnet AND s.name = 'private'"
        " JOIN nodes n ON n.ID = x.Node LEFT JOIN boot b ON b.Node = n.ID WHERE x.IP = %s",
        [address],
    )
    if len(rows) != 1:
        return None
    name, macs, action = rows[0]
    return InstallingHost(str(name), tuple(str(macs or "").split()), action)
