"""Zone files of DNS: the names of each served network, and those of its addresses. Pure.

Sources: RFC 1035 section 5 (form of the file), RFC 2308 (the last number of SOA is the time for which "there is no such
name" is believed), RFC 2317 (an octet is the smallest part of a reverse name).
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError
from rocks.network.network_rules import read_addresses

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rocks.inventory.records import Network
    from rocks.network.dns.names import NamedAddress

_SECONDS = 3600
_NEGATIVE_SECONDS = 60
_SERIAL = re.compile(r"^( {4})([0-9]{1,10})( ; serial)$", re.MULTILINE)


class Zone(NamedTuple):
    """A zone: its name without a dot at the end, and its records as lines, without SOA and NS."""

    name: str
    records: tuple[str, ...]


class Additions(NamedTuple):
    """A file of the site to be included; with the SHA-256 of its content, another content is another text."""

    path: str
    digest: str


def served_zones(addresses: Sequence[NamedAddress], networks: Iterable[Network]) -> list[Zone]:
    """The zones of all networks that serve DNS, then those of their addresses, each sorted by name."""
    served = [network for network in networks if network.serves_dns and network.dns_zone]
    of_network: dict[str, list[NamedAddress]] = {network.name.lower(): [] for network in served}
    for one in addresses:
        if one.network.lower() in of_network:
            of_network[one.network.lower()].append(one)
    forward = _forward_records(addresses, [network.dns_zone.lower() for network in served])
    backward: dict[str, list[str]] = {}
    for network in served:
        of_it = of_network[network.name.lower()]
        for name, records in _reverse_records(of_it, network):
            backward.setdefault(name, []).extend(records)
    zones = [Zone(name, tuple(dict.fromkeys(records))) for name, records in sorted(forward.items())]
    return zones + [
        Zone(name, tuple(dict.fromkeys(records)))
        for name, records in sorted(backward.items())
        if name not in forward
    ]


def zone_text(zone: Zone, server: NamedAddress, serial: int, additions: Additions | None = None) -> str:
    """The file of a zone. `server` is the name server, `additions` a file of the site to be included."""
    name = server.full_name
    label = name.removesuffix(f".{zone.name}")
    # a name server whose name is in the zone must have its address there, also when another zone is in between
    own = [f"{label} IN A {server.address}"] if label != name else []
    lines = [
        "; Written by rocks sync dns from the cluster database; changes are lost.",
        f"$ORIGIN {zone.name}.",
        f"$TTL {_SECONDS}",
        f"@ IN SOA {name}. root.{name}. (",
        f"    {serial} ; serial",
        f"    {_SECONDS} {_SECONDS // 4} {_SECONDS * 24 * 7} {_NEGATIVE_SECONDS} )",
        f"@ IN NS {name}.",
        *(record for record in own if record not in zone.records),
        *zone.records,
        *([f"; SHA-256 {additions.digest}", f"$INCLUDE {additions.path}"] if additions else []),
    ]
    return "".join(line + "\n" for line in lines)


def serial_of(text: str) -> int:
    """The serial number of a zone file that `zone_text` has made; 0 in any other text."""
    found = _SERIAL.search(text)
    return int(found.group(2)) if found else 0


def is_same_zone(old: str, text: str) -> bool:
    """Whether the two texts differ in their serial numbers at most."""
    serial = serial_of(old)
    return old == (with_serial(text, serial) if serial else text)


def numbered_after(old: str, text: str) -> str:
    """The text with a serial number above that of `old`; a text without one as it is."""
    serial = serial_of(old)
    return with_serial(text, max(serial_of(text), serial + 1)) if serial else text


def with_serial(text: str, serial: int) -> str:
    """The same zone file with another serial number."""
    return _SERIAL.sub(rf"\g<1>{serial}\g<3>", text, count=1)


def _forward_records(addresses: Sequence[NamedAddress], zones: Sequence[str]) -> dict[str, list[str]]:
    """Served zone → its records. A name of an interface or a host is not given to an alias of another one.

    named answers from the nearest zone, so a name is in that: a host `storage` of the zone `local` is the top of a zone
    `storage.local`, where one is served, also when `local` is not.
    """
    found: dict[str, list[str]] = {zone: [] for zone in zones}
    own = {one.full_name.lower() for one in addresses}
    hosts = {one.host.lower() for one in addresses}
    for one in addresses:
        if zone := _nearest_zone(one.full_name, found, one.zone):
            found[zone].append(_address_record(one.full_name, zone, one))
        for alias in map(str.lower, one.others[1:] if one.is_host else ()):
            is_whole = "." in alias and bool(_nearest_zone(alias, (*zones, one.zone), ""))
            full = alias if is_whole else f"{alias}.{one.zone}"
            zone = _nearest_zone(full, found, one.zone if full.endswith(f".{one.zone}") else "")
            if (
                not zone
                or full == one.full_name.lower()
                or ("." in alias and not is_whole and zone == one.zone)
            ):
                continue
            if full in own or full.removesuffix(f".{one.zone}") in hosts:
                found[zone].append(
                    f"; {alias}, an alias of {one.host}, is also the name of a host or an interface"
                )
            else:
                found[zone].append(_address_record(full, zone, one))
    return found


def _nearest_zone(name: str, zones: Iterable[str], own: str) -> str:
    """The served zone that has the name: the longest, which is not above the name's own; '' for none."""
    holding = [zone for zone in zones if f".{name.lower()}".endswith(f".{zone}") and len(zone) >= len(own)]
    return max(holding, key=len, default="")


def _address_record(name: str, zone: str, one: NamedAddress) -> str:
    return f"{'@' if name.lower() == zone else name[: -len(zone) - 1]} IN A {one.address}"


def _reverse_records(entries: Iterable[NamedAddress], network: Network) -> Iterator[tuple[str, list[str]]]:
    """(zone, records) of the addresses of a network: no zone has addresses outside of the network."""
    try:
        whole = read_addresses(network.subnet, network.netmask)
    except UserError:
        return
    inside = [one for one in entries if one.address in whole]
    if whole.prefixlen > 24:
        for one in inside:
            yield one.address.reverse_pointer, [f"@ IN PTR {one.full_name}."]
        return
    octets = -(-whole.prefixlen // 8)
    records: dict[str, list[str]] = {
        _reverse_zone(part.network_address, octets): [] for part in whole.subnets(new_prefix=octets * 8)
    }
    for one in inside:
        zone = _reverse_zone(one.address, octets)
        label = one.address.reverse_pointer.removesuffix(f".{zone}")
        records[zone].append(f"{label} IN PTR {one.full_name}.")
    yield from records.items()


def _reverse_zone(address: ipaddress.IPv4Address, octets: int) -> str:
    return ".".join([*reversed(str(address).split(".")[:octets]), "in-addr.arpa"])
