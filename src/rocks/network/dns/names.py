"""The names of a site: which address has which, in /etc/hosts and in zones of DNS. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError
from rocks.core.names import check_alias, check_interface_name, printable
from rocks.inventory.addresses import AddressedInterface, choose_interface
from rocks.inventory.records import PRIVATE_NETWORK
from rocks.network.network_rules import check_zone, read_addresses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from rocks.inventory.records import Network


# The names of a site: which address has which names, in /etc/hosts and in DNS.
#
# An interface with an address on a network with a zone is named NAME.ZONE, where NAME is its own name, or else that of
# its host; a BMC that would share this name with its host is HOST-DEVICE.ZONE. The name of a host and its aliases
# belong to one of its addresses, which `choose_interface` decides.


class NamedAddress(NamedTuple):
    """An address, its name in the zone of its network, and the names without a zone that belong to it.

    `others` begins with the host's name where the address is the one of the host's name; `is_host` says that. `is_bmc`:
    another machine than the host has the address.
    """

    address: ipaddress.IPv4Address
    host: str
    network: str
    label: str
    zone: str
    others: tuple[str, ...]
    is_host: bool
    is_bmc: bool

    @property
    def full_name(self) -> str:
        """The name with its zone, without a dot at the end."""
        return f"{self.label}.{self.zone}"


class SiteNames(NamedTuple):
    """All named addresses, in numerical order; and what was left out, a sentence each."""

    addresses: tuple[NamedAddress, ...]
    problems: tuple[str, ...]


def with_valid_zones(networks: Iterable[Network]) -> tuple[list[Network], list[str]]:
    """The networks, those with an invalid zone without it; and a sentence on each of these.

    The zone is part of named.conf: an invalid one, which only other programs store, could be anything there.
    """
    problems: list[str] = []
    valid = [
        network
        if not network.dns_zone or _is_valid(check_zone, network.dns_zone, _zone_of(network.name), problems)
        else replace(network, dns_zone="")
        for network in networks
    ]
    return valid, problems


def _zone_of(network: str) -> str:
    return f"the zone of the network {printable(network)}"


def name_addresses(
    interfaces: Iterable[AddressedInterface],
    networks: Sequence[Network],
    aliases: Iterable[tuple[str, str]],
) -> SiteNames:
    """The names of all interfaces with an address; `aliases` are (host, alias).

    A name that cannot stand in /etc/hosts or DNS, as only earlier releases and other programs store one, is left out.
    """
    problems: list[str] = []
    zones = {network.name.lower(): network.dns_zone for network in networks if network.dns_zone}
    stored = list(interfaces)
    shared = {_full_name(one, zones) for one in stored if not one.is_bmc}
    found: list[NamedAddress] = []
    of_hosts: dict[str, list[AddressedInterface]] = {}
    for one in stored:
        is_shared = one.is_bmc and _full_name(one, zones) in shared
        label = f"{one.host}-{one.device or 'bmc'}" if is_shared else one.name or one.host
        if (entry := _entry(one, label, zones, problems)) is not None:
            found.append(entry)
            of_hosts.setdefault(one.host.lower(), []).append(one)
    of_host = _own_addresses(of_hosts, problems)
    others: dict[str, list[str]] = {}
    for host, alias in aliases:
        if _is_valid(check_alias, alias, f"the alias {printable(alias)} of host {printable(host)}", problems):
            others.setdefault(host.lower(), []).append(alias)
    uses = _label_uses(found, others)
    named = [_with_others(entry, of_host, others, uses) for entry in found]
    return SiteNames(tuple(sorted(named, key=lambda one: (one.address, one.full_name))), tuple(problems))


def _full_name(one: AddressedInterface, zones: Mapping[str, str]) -> tuple[str, str]:
    return (one.name or one.host).lower(), zones.get(one.network.lower(), "").lower()


def _entry(
    one: AddressedInterface, label: str, zones: Mapping[str, str], problems: list[str]
) -> NamedAddress | None:
    zone = zones.get(one.network.lower(), "")
    if not zone:
        return None
    try:
        address = ipaddress.IPv4Address(one.address)
    except ValueError:
        problems.append(
            f"host {printable(one.host)} has {printable(one.address)}, which is not an IPv4 address, on the network "
            f"{one.network}: rocks set host interface ip {printable(one.host)}"
        )
        return None
    what = f"the name {printable(label)} of host {printable(one.host)} on the network {one.network}"
    if not (
        _is_valid(check_interface_name, label, what, problems)
        and _is_valid(check_interface_name, one.host, f"the host {printable(one.host)}", problems)
        and _is_valid(check_zone, zone, _zone_of(one.network), problems)
    ):
        return None
    return NamedAddress(
        address, one.host, one.network, label, zone.lower(), (), is_host=False, is_bmc=one.is_bmc
    )


def _is_valid(check: Callable[[str], None], text: str, what: str, problems: list[str]) -> bool:
    try:
        check(text)
    except UserError:
        problems.append(f"{what} is not a valid name, and is left out")
        return False
    return True


def _own_addresses(
    of_hosts: Mapping[str, Sequence[AddressedInterface]], problems: list[str]
) -> dict[str, tuple[str, str]]:
    """Host, in lower case → the address of its name, and that address's network."""
    chosen: dict[str, tuple[str, str]] = {}
    for host, interfaces in of_hosts.items():
        own = choose_interface(interfaces, PRIVATE_NETWORK)
        if own is not None:
            chosen[host] = str(ipaddress.IPv4Address(own.address)), own.network
            continue
        first = interfaces[0]
        others = [one for one in interfaces if not one.is_bmc]
        if others:
            name, device = first.host, printable(others[0].device or "DEVICE")
            problems.append(
                f"no address has the name of host {name}, for its interfaces have names of their own: rocks set host "
                f"interface name {name} {device} {name} gives it to {device}"
            )
    return chosen


def _label_uses(found: Iterable[NamedAddress], aliases: Mapping[str, Sequence[str]]) -> Counter[str]:
    """Name without a zone → the number of addresses, hosts and aliases with it."""
    uses = Counter(entry.label.lower() for entry in found)
    uses.update({entry.host.lower() for entry in found if entry.label.lower() != entry.host.lower()})
    uses.update(alias.lower() for of_host in aliases.values() for alias in of_host)
    return uses


def _with_others(
    entry: NamedAddress,
    of_host: Mapping[str, tuple[str, str]],
    aliases: Mapping[str, Sequence[str]],
    uses: Mapping[str, int],
) -> NamedAddress:
    is_host = of_host.get(entry.host.lower()) == (str(entry.address), entry.network)
    names = [entry.host] if is_host else []
    if entry.label.lower() != entry.host.lower() and uses[entry.label.lower()] == 1:
        names.append(entry.label)
    if is_host:
        names += aliases.get(entry.host.lower(), ())
    return entry._replace(others=tuple(dict.fromkeys(names)), is_host=is_host)


# Lines of /etc/hosts for the hosts of the site. Source: hosts(5).

_MAX_NAMES = 30
"""On a line: glibc 2.36 reads lines of any length, other readers only 35 aliases; the rest gets lines of its own."""


def hosts_lines(addresses: Iterable[NamedAddress]) -> str:
    """A line `ADDRESS<tab>NAME.ZONE NAME ALIAS…` for each address."""
    return "".join(_line(one) for one in addresses)


def _line(one: NamedAddress) -> str:
    names = [one.full_name, *(name for name in one.others if name.lower() != one.full_name)]
    pieces = [names[start : start + _MAX_NAMES] for start in range(0, len(names), _MAX_NAMES)]
    return "".join(f"{one.address}\t{' '.join(piece)}\n" for piece in pieces)


# Zone files of DNS: the names of each served network, and those of its addresses.
#
# Sources: RFC 1035 section 5 (form of the file), RFC 2308 (the last number of SOA is the time for which "there is no
# such name" is believed), RFC 2317 (an octet is the smallest part of a reverse name).

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
    """The zone file with another serial number."""
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


# The configuration of BIND's name server for the site, and that of a resolver. Pure.
#
# Sources: BIND 9 Administrator Reference Manual; resolv.conf(5).


MAX_SEARCHED = 6
MAX_SERVERS = 3
"""What glibc before 2.26, and glibc, read of a resolv.conf."""


_WORK_FOLDER = "/var/cache/bind"


class NameService(NamedTuple):
    """What the name server serves, to whom, and whom it asks.

    `addresses` are the frontend's own on the served networks, `clients` these networks as ADDRESS/BITS, `forwarders`
    the name servers of the site; without any, it asks the servers of the root. `zones` are (name, path of the file).
    `additions` is a file of the site to be included, if there is one. `process` is the file of named's process number.
    """

    addresses: Sequence[str]
    clients: Sequence[str]
    forwarders: Sequence[str]
    zones: Sequence[tuple[str, str]]
    additions: Additions | None
    process: str


def named_configuration(service: NameService) -> str:
    """named.conf: zones for the networks that serve DNS, and recursion for them and for this machine alone."""
    clients = _list(["127.0.0.0/8", *service.clients])
    forwarding = (
        [f"  forwarders {_list(service.forwarders)};", "  forward only;"] if service.forwarders else []
    )
    # the site's own servers validate; and they know private addresses, which empty zones would hide
    trusting = ["  dnssec-validation no;", "  empty-zones-enable no;"] if service.forwarders else []
    lines = [
        "// Written by rocks sync dns from the cluster database; changes are lost.",
        "options {",
        f'  directory "{_WORK_FOLDER}";',
        f'  pid-file "{service.process}";',
        "  session-keyfile none;",
        f"  listen-on {_list(['127.0.0.1', *service.addresses])};",
        "  listen-on-v6 { none; };",
        f"  allow-query {clients};",
        f"  allow-recursion {clients};",
        "  allow-transfer { none; };",
        *forwarding,
        *trusting,
        # names of hosts may have an underscore
        "  check-names primary ignore;",
        "  version none;",
        "};",
        "controls { };",
        *(
            f'zone "{name}" {{ type primary; file "{path}"; allow-update {{ none; }}; }};'
            for name, path in service.zones
        ),
        *([f"// SHA-256 {added.digest}", f'include "{added.path}";'] if (added := service.additions) else []),
    ]
    return "".join(line + "\n" for line in lines)


def resolver_configuration(searched: Sequence[str], servers: Sequence[str]) -> str:
    """resolv.conf: domains that are tried after a name without a dot, and the name servers."""
    lines = [f"search {' '.join(searched[:MAX_SEARCHED])}"] if searched else []
    lines += [f"nameserver {server}" for server in servers[:MAX_SERVERS]]
    return "".join(line + "\n" for line in lines)


def _list(items: Sequence[str]) -> str:
    return "{ " + "".join(f"{item}; " for item in items) + "}"
