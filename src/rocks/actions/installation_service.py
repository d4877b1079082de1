"""The service that gives installing hosts their files: who asks, what it gets, and secrets once."""

from __future__ import annotations

import contextlib
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.actions.handed_out_secrets import record_handed_out
from rocks.actions.installer_files import installer_file, profile_of_document
from rocks.actions.message_broker import node_authority
from rocks.actions.node_documents import DocumentOptions, site_document
from rocks.actions.profiles import load_sites, write_profile
from rocks.cluster.installing import Client, check_client, is_attached, neighbour_mac, stated_macs
from rocks.database.boot_facts import boot_facts
from rocks.database.connection import Database
from rocks.database.hosts import find_local_host
from rocks.database.installing_hosts import host_at
from rocks.database.secrets import read_of_hosts
from rocks.errors import HostError, RocksError, StateError, UserError
from rocks.graph_files import Library
from rocks.hosts.https_server import RETRY_AFTER_SECONDS, Answer, Bounds, HttpsServer, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from rocks.actions.profiles import HostOfSite

DEFAULT_PORT = 443
_ARP, _ROUTES = Path("/proc/net/arp"), Path("/proc/net/route")
_PATHS = {
    "/install/kickstart": "kickstart",
    "/install/sbin/kickstart.cgi": "kickstart",
    "/install/sbin/public/kickstart.cgi": "kickstart",
    "/install/preseed": "preseed",
    "/install/profile": "profile",
    "/install/secrets": "secrets",
}
"""Path → what it gives; the second is that of Rocks' boot actions."""


def make_service(database: Database, address: str, port: int, log: Callable[[str], None]) -> HttpsServer:
    """The service on this frontend, with the frontend's certificate. StateError when it has none.

    `address` empty: that of the frontend on the network private. Each request has a connection of its own to the
    database. HostError when the address and port are not free.
    """
    name = find_local_host(database)
    if name is None:
        raise StateError(
            "this machine is not in the database, and has no certificate: rocks set attr Kickstart_PrivateHostname NAME"
        )
    bundle = node_authority().bundle(name)
    place = address or _private_address(database, name)
    settings = database.settings
    database.end_reading()

    def answer(request: Request) -> Answer:
        try:
            mac = mac_of_client(request.address)
        except HostError as error:
            return _refusal(request, error)
        with Database(settings) as own:
            return answer_request(own, request, mac)

    return HttpsServer((place, port), bundle.pair, answer, log, Bounds())


def answer_request(database: Database, request: Request, mac: str) -> Answer:
    """The file that the client asks for, or a page that says why it gets none. `mac` is the neighbour's, or ''."""
    try:
        kind = _PATHS.get(request.path)
        if kind is None:
            return _page(404, request, f"there is no {request.path[:80]} here, only {', '.join(_PATHS)}")
        client = Client(request.address, mac, stated_macs(request.headers))
        host = check_client(client, host_at(database, request.address))
        if kind == "secrets":
            text = _secrets(database, host.name)
        else:
            (site,) = load_sites(database, [host.name])
            text = _file(site, kind)
    except RocksError as error:
        return _refusal(request, error)
    return Answer(200, "text/plain; charset=utf-8", text.encode())


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


def _private_address(database: Database, name: str) -> str:
    found = [one.address for one in boot_facts(database, [name]) if one.address]
    if not found:
        raise StateError(
            f"{name} has no address on the network private, on which hosts are installed: give address=, or "
            f"rocks add host interface {name}"
        )
    return found[0]


def _file(site: HostOfSite, kind: str) -> str:
    if kind == "profile":
        return write_profile(site, Library())
    return installer_file(profile_of_document(site_document(site, DocumentOptions())), kind)


def _secrets(database: Database, name: str) -> str:
    """The host's own secret attributes, as lines of `name:value`. StateError when they were handed out before.

    They are recorded as handed out before they leave: a client that loses the answer gets no second one.
    """
    rows = read_of_hosts(database, [name])
    record_handed_out(database.settings, name)
    return "".join(f"{attribute}:{value}\n" for _, attribute, value, _ in rows)


def _refusal(request: Request, error: RocksError) -> Answer:
    if isinstance(error, UserError | StateError):
        return _page(403, request, str(error))
    return _page(503, request, str(error), {"Retry-After": str(RETRY_AFTER_SECONDS)})


def _page(status: int, request: Request, reason: str, headers: dict[str, str] | None = None) -> Answer:
    body = (
        "<!DOCTYPE html>\n<html><head><title>KickstartError</title></head><body>\n<h1>KickstartError</h1>\n"
        f"<p>Client {escape(request.address)}: {escape(reason)}.</p>\n</body></html>\n"
    )
    return Answer(status, "text/html; charset=utf-8", body.encode(), headers or {})


def run_service(service: HttpsServer) -> None:
    """Serve until the process is interrupted."""
    with service, contextlib.suppress(KeyboardInterrupt):
        service.serve_forever()
