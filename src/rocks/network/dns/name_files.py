"""The documents of the name service, from the database: named.conf, zones and resolv.conf."""

from __future__ import annotations

import hashlib
import ipaddress
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.clock import utc_now
from rocks.core.errors import HostError, StateError, UserError
from rocks.core.names import printable
from rocks.inventory.attributes.records import global_attributes
from rocks.inventory.host_records import local_host
from rocks.inventory.records import PRIVATE_NETWORK
from rocks.network.dns.changes import has_name_service, name_folder
from rocks.network.dns.name_records import load_site_names
from rocks.network.dns.named_configuration import NameService, named_configuration, resolver_configuration
from rocks.network.dns.names import Additions, served_zones, zone_text
from rocks.network.network_records import load_networks, network_names
from rocks.network.network_rules import check_zone, read_addresses

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import Network
    from rocks.network.dns.names import NamedAddress, SiteNames

RUN_FOLDER = Path("/run/named")
_PUBLIC_DOMAIN = "Kickstart_PublicDNSDomain"
_SITE = "site"
"""Folder of the operator's additions: named.conf, and a file for each zone that has some."""


class NameFiles(NamedTuple):
    """All files of the name service as they would be written: path → text; named.conf is first."""

    files: dict[Path, str]
    problems: tuple[str, ...]


def run_folder() -> Path:
    """The folder of named's process number; the environment variable ROCKS_DNS_RUN_FOLDER overrides the default."""
    return Path(os.environ.get("ROCKS_DNS_RUN_FOLDER") or RUN_FOLDER)


def name_files(database: Database) -> NameFiles:
    """All files of the name service, without a look at those that exist but for the site's additions.

    StateError when this machine is not in the database or has no address with a name; HostError for additions that
    cannot be read.
    """
    names, networks = load_site_names(database)
    server = _server(names, local_host(database))
    attributes = global_attributes(database)
    folder = name_folder()
    serial = int(utc_now().timestamp())
    zones = served_zones(names.addresses, networks)
    files = {
        folder / "zones" / zone.name: zone_text(zone, server, serial, _site_additions(zone.name))
        for zone in zones
    }
    served = {network.name.lower() for network in served_networks(networks)}
    own = [
        str(one.address)
        for one in names.addresses
        if one.host == server.host and one.network.lower() in served
    ]
    service = NameService(
        tuple(dict.fromkeys(own)),
        tuple(_clients(served_networks(networks))),
        [
            one
            for one in _list_of(attributes.get("Kickstart_PublicDNSServers", ""))
            if _is_forwarder(one, own)
        ],
        [(zone.name, str(folder / "zones" / zone.name)) for zone in zones],
        _site_additions("named.conf"),
        str(run_folder() / "named.pid"),
    )
    return NameFiles({folder / "named.conf": named_configuration(service), **files}, names.problems)


def resolver(database: Database, private: bool) -> str:
    """resolv.conf of the frontend, or that of the hosts on the network private.

    StateError for a stored domain or address that is not one: the file would say something else.
    """
    attributes = global_attributes(database)
    networks = load_networks(database, network_names(database))
    zones = {network.name.lower(): network.dns_zone for network in networks if network.dns_zone}
    first = [_domain(zones[PRIVATE_NETWORK], PRIVATE_NETWORK)] if PRIVATE_NETWORK in zones else []
    public = attributes.get(_PUBLIC_DOMAIN) or zones.get("public", "")
    searched = list(dict.fromkeys([*first, *([_domain(public, "public")] if public else [])]))
    if private:
        servers = _servers(attributes, "Kickstart_PrivateDNSServers")
    else:
        servers = ["127.0.0.1"] if has_name_service() else _servers(attributes, "Kickstart_PublicDNSServers")
    return resolver_configuration(searched, servers)


def _domain(text: str, network: str) -> str:
    try:
        check_zone(text)
    except UserError:
        where = f"the attribute {_PUBLIC_DOMAIN} or the zone of" if network == "public" else "the zone of"
        raise StateError(
            f'"{printable(text)}" is not a domain ({where} the network {network}); rocks set network zone {network}, '
            f"rocks set attr {_PUBLIC_DOMAIN}"
        ) from None
    return text


def _servers(attributes: Mapping[str, str], name: str) -> list[str]:
    servers = _list_of(attributes.get(name, ""))
    for one in servers:
        address, percent, device = one.partition("%")
        try:
            ipaddress.ip_address(address)
            if percent and not (device.isascii() and device.isalnum()):
                raise ValueError
        except ValueError:
            raise StateError(
                f'the attribute {name} has "{printable(one)}", which is not an address: rocks set attr {name} '
                "ADDRESS,ADDRESS"
            ) from None
    return servers


def _server(names: SiteNames, frontend: str) -> NamedAddress:
    for one in names.addresses:
        if one.is_host and one.host.lower() == frontend.lower():
            return one
    raise StateError(
        f"{frontend} has no address on a network with a zone, so it cannot serve names: rocks list host interface "
        f"{frontend}; rocks set network zone"
    )


def served_networks(networks: Sequence[Network]) -> list[Network]:
    return [network for network in networks if network.serves_dns and network.dns_zone]


def _clients(networks: Sequence[Network]) -> list[str]:
    found = []
    for network in networks:
        with suppress(UserError):
            found.append(str(read_addresses(network.subnet, network.netmask)))
    return found


def _is_forwarder(server: str, own: Sequence[str]) -> bool:
    """Whether named may ask the server: an IPv4 address that is not its own, which would be asked for ever."""
    try:
        read = ipaddress.IPv4Address(server)
    except ValueError:
        return False
    return str(read) not in own and not read.is_loopback


def _site_additions(name: str) -> Additions | None:
    """The site's additions. HostError for a file that cannot be read."""
    path = name_folder() / _SITE / name
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            return Additions(str(path), hashlib.file_digest(file, "sha256").hexdigest())
    except OSError as error:
        raise HostError(f"cannot read {path}: {error.strerror}") from None


def _list_of(text: str) -> list[str]:
    return text.replace(",", " ").split()
