"""The firewall rules of a host as a file for nft(8), with flags that are options of iptables(8). Pure."""

from __future__ import annotations

import ipaddress
import re
import shlex
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import StateError, UserError
from rocks.core.names import printable
from rocks.core.terminal import one_line
from rocks.core.version import guide_page
from rocks.network.firewall.rules import (
    ALL,
    NAT,
    WITH_PORTS,
    check_ports_possible,
    order_key,
    protocol_number,
    read_ports,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from rocks.inventory.records import Interface
    from rocks.network.firewall.rules import FirewallRule, PortOf


# Flags of a firewall rule, which are options of iptables(8), as matches and targets of nft(8).
#
# Sources: iptables-extensions(8), nft(8). Options that are not here are refused: a rule without one of its matches
# would apply to more than it should.

MODULES = frozenset(
    ["state", "conntrack", "tcp", "udp", "sctp", "icmp", "multiport", "comment", "limit", "mac", "iprange"]
)
REJECTS = {
    "icmp-net-unreachable": "icmpx no-route",
    "icmp-host-unreachable": "icmpx host-unreachable",
    "icmp-port-unreachable": "icmpx port-unreachable",
    "icmp-net-prohibited": "icmpx admin-prohibited",
    "icmp-host-prohibited": "icmpx admin-prohibited",
    "icmp-admin-prohibited": "icmpx admin-prohibited",
    "tcp-reset": "tcp reset",
}
_OTHER_PARAMETERS = {
    "-A": "chain=", "--append": "chain=", "-I": "chain=", "-j": "action=", "--jump": "action=", "-g": "action=",
    "-p": "protocol=", "--protocol": "protocol=", "-t": "service=nat", "--table": "service=nat",
}  # fmt: skip
_ALIASES = {
    "--source": "-s", "--src": "-s", "--destination": "-d", "--dst": "-d", "--in-interface": "-i",
    "--out-interface": "-o", "--ctstate": "--state", "--source-port": "--sport", "--source-ports": "--sport",
    "--sports": "--sport", "--destination-port": "--dport", "--destination-ports": "--dport", "--dports": "--dport",
}  # fmt: skip
_TARGET_OPTIONS = {
    "REJECT": ("--reject-with",), "LOG": ("--log-prefix", "--log-level"), "SNAT": ("--to-source",),
    "DNAT": ("--to-destination",), "REDIRECT": ("--to-ports",), "MASQUERADE": ("--to-ports",),
}  # fmt: skip
_NEEDED = {"SNAT": "--to-source", "DNAT": "--to-destination"}
_STATES = ("new", "established", "related", "invalid", "untracked")
_ICMP_TYPES = {
    "any": "", "echo-reply": "0", "pong": "0", "destination-unreachable": "3", "network-unreachable": "3/0",
    "host-unreachable": "3/1", "port-unreachable": "3/3", "fragmentation-needed": "3/4", "source-quench": "4",
    "redirect": "5", "echo-request": "8", "ping": "8", "time-exceeded": "11", "ttl-exceeded": "11",
    "parameter-problem": "12", "timestamp-request": "13", "timestamp-reply": "14",
}  # fmt: skip
_TCP_FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg")
_LEVELS = ("emerg", "alert", "crit", "err", "warn", "notice", "info", "debug")
_DEVICE = re.compile(r"[A-Za-z0-9_.@-]{1,15}\+?", re.ASCII)
_PREFIX = re.compile(r"[A-Za-z0-9 _.:,=/+()\[\]-]{1,29}", re.ASCII)
_RATE = re.compile(r"([1-9][0-9]{0,6})/(s|sec|second|m|min|minute|h|hour|d|day)", re.ASCII)
_RATE_UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day"}
_ADDRESSES = re.compile(r"[0-9A-Fa-f.:,/-]+", re.ASCII)
"""Characters of addresses. Python takes a scope after % as well, of any text."""

_MAC = re.compile(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}", re.ASCII)
_NUMBER = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_REFERENCE = re.compile(r"&([A-Za-z_][A-Za-z0-9_.-]*);", re.ASCII)
_VALUE = re.compile(r"[A-Za-z0-9_.:,/+@-]+", re.ASCII)


class NftFlags(NamedTuple):
    """Matches of nft, and the options of the target by iptables' names."""

    matches: tuple[str, ...]
    target: Mapping[str, str]


class _Option(NamedTuple):
    """An option with its value; `is_not` stands for iptables' exclamation mark."""

    name: str
    value: str
    is_not: bool
    protocol: str
    port_of: PortOf

    @property
    def sign(self) -> str:
        return "!= " if self.is_not else ""

    def refuse(self, expected: str) -> UserError:
        return UserError(
            f'flags: "{printable(self.value)}" is not valid for {self.name}: it must be {expected}'
        )


def references(flags: str) -> list[str]:
    """The attributes that flags name as `&NAME;`, as Rocks has them: each host has its own values."""
    return list(dict.fromkeys(_REFERENCE.findall(flags)))


def with_values(flags: str, attributes: Mapping[str, str], host: str) -> str:
    """The flags with the values of the attributes of the host in place of their references.

    UserError for an attribute that is missing, or has a value that could be more than a part of one word.
    """

    def value(found: re.Match[str]) -> str:
        text = attributes.get(found[1], "")
        if not _VALUE.fullmatch(text):
            state = f'the value "{printable(text)}", which cannot be a part of flags' if text else "no value"
            raise UserError(
                f"the attribute {found[1]} of host {host} has {state}: rocks set host attr {host} {found[1]} VALUE"
            )
        return text

    return _REFERENCE.sub(value, flags)


@lru_cache(maxsize=4096)
def translate_flags(flags: str, protocol: str, action: str, port_of: PortOf) -> NftFlags:
    """The flags of a rule with this protocol and action. UserError for a flag that is unknown or not valid."""
    matches: list[str] = []
    target: dict[str, str] = {}
    limit: dict[str, str] = {}
    for option in _options(flags, protocol, port_of):
        if option.name == "-m limit":
            limit.setdefault("--limit", "3/hour")
        elif option.name in ("--limit", "--limit-burst"):
            limit[option.name] = _limit(option)
        elif option.name in _MATCHES:
            matches += [match for match in (_MATCHES[option.name](option),) if match]
        elif option.name in _TARGET_OPTIONS.get(action, ()):
            target[option.name] = _TARGETS[option.name](option)
        elif option.name in _TARGETS:
            raise UserError(f"flags: {option.name} does not belong to the action {action}")
        else:
            raise _unknown(option.name)
    if action in _NEEDED and _NEEDED[action] not in target:
        raise UserError(f"the action {action} needs flags with {_NEEDED[action]} ADDRESS")
    if limit:
        matches.append(
            f"limit rate {limit.get('--limit', '3/hour')} burst {limit.get('--limit-burst', '5')} packets"
        )
    return NftFlags(tuple(matches), target)


def _options(flags: str, protocol: str, port_of: PortOf) -> Iterator[_Option]:
    texts = _split(flags)
    is_not = False
    while texts:
        name = texts.pop(0)
        if name == "!":
            if is_not or not texts:
                raise UserError("flags: ! stands before an option")
            is_not = True
            continue
        name, equals, value = name.partition("=") if name.startswith("--") else (name, "", "")
        name = _ALIASES.get(name, name)
        if name in ("-m", "--match"):
            module = value if equals else _next(texts, name)
            _check_module(module, is_not)
            if module == "limit":
                yield _Option("-m limit", "", False, protocol, port_of)
            continue
        if name == "--syn":
            yield _Option("--tcp-flags", "fin,syn,rst,ack syn", is_not, protocol, port_of)
        elif name not in _MATCHES and name not in _TARGETS and not name.startswith("--limit"):
            raise _unknown(name)
        else:
            if not equals and texts[:1] == ["!"]:  # as earlier releases of iptables wrote it
                texts.pop(0)
                is_not = not is_not
            value = value if equals else _next(texts, name)
            if name == "--tcp-flags":
                value = f"{value} {_next(texts, name)}"
            yield _checked(_Option(name, value, is_not, protocol, port_of))
        is_not = False
    if is_not:
        raise UserError("flags: ! stands before an option")


def _split(flags: str) -> list[str]:
    try:
        return shlex.split(flags)
    except ValueError as error:
        raise UserError(f'flags "{printable(flags)}" cannot be read: {error}') from None


def _next(texts: list[str], name: str) -> str:
    if not texts:
        raise UserError(f"flags: {name} needs a value")
    return texts.pop(0)


def _check_module(name: str, is_not: bool) -> None:
    if is_not or name not in MODULES:
        raise UserError(
            f'flags: the module "{printable(name)}" is not known; known are {", ".join(sorted(MODULES))}'
            f"{_ELSEWHERE}"
        )


_ELSEWHERE = (
    "; write what nft needs for it into a table of your own, by a node of the site "
    f"({guide_page('firewall.md')})"
)


def _unknown(name: str) -> UserError:
    if name in _OTHER_PARAMETERS:
        return UserError(f"flags: {name} is given by the parameter {_OTHER_PARAMETERS[name]}")
    known = ", ".join(sorted({*_MATCHES, *_TARGETS, "--syn", "--limit", "--limit-burst"} - {""}))
    return UserError(f'flags: "{printable(name)}" is not known; known are -m MODULE, {known}{_ELSEWHERE}')


_WITHOUT_NOT = frozenset(("--comment", "--limit", "--limit-burst"))


def _checked(option: _Option) -> _Option:
    if option.is_not and (option.name in _WITHOUT_NOT or option.name in _TARGETS):
        raise UserError(f"flags: ! does not go with {option.name}")
    return option


def _addresses(direction: str) -> Callable[[_Option], str]:
    def match(option: _Option) -> str:
        networks = []
        if not _ADDRESSES.fullmatch(option.value):
            raise option.refuse("an address, or address/prefix, several separated by commas")
        for text in option.value.split(","):
            try:
                networks.append(ipaddress.ip_network(text, strict=False))
            except ValueError:
                raise option.refuse("an address, or address/prefix, several separated by commas") from None
        if len({network.version for network in networks}) > 1:
            raise option.refuse("addresses of IPv4 only, or of IPv6 only")
        family = "ip" if networks[0].version == 4 else "ip6"
        merged = ipaddress.collapse_addresses(networks)  # type: ignore[type-var]
        return f"{family} {direction} {option.sign}{{ {', '.join(map(str, merged))} }}"

    return match


def _ranges(direction: str) -> Callable[[_Option], str]:
    def match(option: _Option) -> str:
        first, last = _address_range(option, option.value)
        return f"{'ip' if first.version == 4 else 'ip6'} {direction} {option.sign}{first}-{last}"

    return match


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _address_range(option: _Option, text: str) -> tuple[_Address, _Address]:
    first, dash, last = text.partition("-")
    try:
        if not _ADDRESSES.fullmatch(text):
            raise ValueError
        found = ipaddress.ip_address(first), ipaddress.ip_address(last if dash else first)
    except ValueError:
        raise option.refuse("ADDRESS-ADDRESS") from None
    if found[0].version != found[1].version or int(found[0]) > int(found[1]):
        raise option.refuse("ADDRESS-ADDRESS, the lower one first")
    return found


def _device(key: str) -> Callable[[_Option], str]:
    def match(option: _Option) -> str:
        if not _DEVICE.fullmatch(option.value):
            raise option.refuse("a network device; + at its end stands for any text")
        name = f"{option.value[:-1]}*" if option.value.endswith("+") else option.value
        return f'{key} {option.sign}"{name}"'

    return match


def _ports(direction: str) -> Callable[[_Option], str]:
    def match(option: _Option) -> str:
        check_ports_possible(option.protocol, option.name)
        ranges = [read_ports(text, option.protocol, option.port_of) for text in option.value.split(",")]
        return f"{option.protocol} {direction} {option.sign}{port_set(ranges)}"

    return match


def port_set(ranges: list[tuple[int, int]]) -> str:
    """Ports for nft: one, or a set without overlaps."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in merged]
    return texts[0] if len(texts) == 1 else f"{{ {', '.join(texts)} }}"


def _state(option: _Option) -> str:
    states = option.value.lower().split(",")
    if not set(states) <= set(_STATES):
        raise option.refuse(f"one or several of {', '.join(_STATES).upper()}, separated by commas")
    return f"ct state {option.sign}{{ {', '.join(dict.fromkeys(states))} }}"


def _icmp_type(option: _Option) -> str:
    if option.protocol != "icmp":
        raise UserError("flags: --icmp-type needs protocol=icmp")
    kind, slash, code = _ICMP_TYPES.get(option.value, option.value).partition("/")
    if option.value == "any" and not option.is_not:
        return ""
    if not all(
        text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 255
        for text in (kind, code or "0")
    ):
        raise option.refuse(f"a number, NUMBER/CODE, or one of {', '.join(_ICMP_TYPES)}")
    if code and option.is_not:
        raise option.refuse("a type without a code after !")
    return f"icmp type {option.sign}{kind}" + (f" icmp code {code}" if slash and code else "")


def _tcp_flags(option: _Option) -> str:
    if option.protocol != "tcp":
        raise UserError("flags: --tcp-flags and --syn need protocol=tcp")
    mask_text, _, set_text = option.value.lower().partition(" ")
    mask, present = (_flag_names(option, text) for text in (mask_text, set_text))
    if not mask:
        raise option.refuse("two lists, the first of which is not empty")
    sign = "!=" if option.is_not else "=="
    return f"tcp flags & ({'|'.join(mask)}) {sign} {'|'.join(present) or '0x0'}"


def _flag_names(option: _Option, text: str) -> list[str]:
    names = {"all": list(_TCP_FLAGS), "none": []}.get(text, text.split(","))
    if not set(names) <= set(_TCP_FLAGS):
        raise option.refuse(f"two lists of {', '.join(_TCP_FLAGS).upper()}, ALL or NONE")
    return names


def _mac(option: _Option) -> str:
    if not _MAC.fullmatch(option.value):
        raise option.refuse("a MAC address")
    return f"ether saddr {option.sign}{option.value.lower()}"


def _limit(option: _Option) -> str:
    if option.name == "--limit-burst":
        if not _NUMBER.fullmatch(option.value):
            raise option.refuse("a number from 1 to 99999")
        return option.value
    found = _RATE.fullmatch(option.value)
    if not found:
        raise option.refuse("a rate such as 5/minute")
    return f"{found[1]}/{_RATE_UNITS[found[2][0]]}"


def _reject_with(option: _Option) -> str:
    if option.value not in REJECTS:
        raise option.refuse(f"one of {', '.join(REJECTS)}")
    if option.value == "tcp-reset" and option.protocol != "tcp":
        raise UserError("flags: --reject-with tcp-reset needs protocol=tcp")
    return REJECTS[option.value]


def _log_prefix(option: _Option) -> str:
    if not _PREFIX.fullmatch(option.value):
        raise option.refuse("1 to 29 letters, digits, blanks and _ . : , = / + ( ) [ ] -")
    return option.value


def _log_level(option: _Option) -> str:
    aliases = {
        "warning": "warn",
        "error": "err",
        "panic": "emerg",
        **dict(zip("01234567", _LEVELS, strict=True)),
    }
    level = aliases.get(option.value.lower(), option.value.lower())
    if level not in _LEVELS:
        raise option.refuse(f"one of {', '.join(_LEVELS)}")
    return level


def _translation(option: _Option) -> str:
    """An IPv4 address or a range of them, and ports."""
    addresses, colon, ports = option.value.partition(":")
    if option.value.count(":") > 1:
        raise option.refuse("an address of IPv4")
    first, last = _address_range(option, addresses)
    text = str(first) if first == last else f"{first}-{last}"
    return text + (f":{_port_range(option, ports)}" if colon else "")


def _port_range(option: _Option, text: str) -> str:
    check_ports_possible(option.protocol, f"{option.name} {printable(option.value)}")
    return port_set([read_ports(text.replace("-", ":"), option.protocol, option.port_of)])


_MATCHES: dict[str, Callable[[_Option], str]] = {
    "-s": _addresses("saddr"), "-d": _addresses("daddr"),
    "--src-range": _ranges("saddr"), "--dst-range": _ranges("daddr"),
    "-i": _device("iifname"), "-o": _device("oifname"),
    "--sport": _ports("sport"), "--dport": _ports("dport"),
    "--state": _state, "--icmp-type": _icmp_type, "--tcp-flags": _tcp_flags,
    "--mac-source": _mac, "--comment": lambda option: "",
}  # fmt: skip
_TARGETS: dict[str, Callable[[_Option], str]] = {
    "--reject-with": _reject_with, "--log-prefix": _log_prefix, "--log-level": _log_level,
    "--to-source": _translation, "--to-destination": _translation,
    "--to-ports": lambda option: f":{_port_range(option, option.value)}",
}  # fmt: skip


# The whole file of rules of a host.
#
# The file replaces two tables of this system in one transaction of the kernel, and names no other: those of libvirt,
# of the storage ports of a NAS and of the site stay. Chains without a rule are left out.

FIREWALL_FILE = "/etc/rocks/firewall.nft"
FIREWALL_PERMISSIONS = "0600"

FILTER_TABLE, NAT_TABLE = "inet rocks_filter", "ip rocks_nat"
"""Family and name. Address translation is of IPv4 alone, as in iptables; RHEL 8 has no other."""

UNIT_TEXT = f"""\
[Unit]
Description=Firewall rules of the cluster database
DefaultDependencies=no
After=local-fs.target nftables.service netfilter-persistent.service
Before=network-pre.target shutdown.target
Wants=network-pre.target
Conflicts=shutdown.target
PartOf=nftables.service
ReloadPropagatedFrom=nftables.service
ConditionPathExists={FIREWALL_FILE}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f {FIREWALL_FILE}
ExecReload=/usr/sbin/nft -f {FIREWALL_FILE}

[Install]
WantedBy=multi-user.target
"""
"""A restart replaces the rules at once.

The start and the reload of nftables.service remove all tables, hence PartOf and ReloadPropagatedFrom.
"""

_HOOKS = {"INPUT": 0, "FORWARD": 0, "OUTPUT": 0}
_NAT_HOOKS = {"PREROUTING": -100, "OUTPUT": -100, "POSTROUTING": 100}
"""Chain of iptables → its priority, as a number: RHEL 8's nft has few names for them. Source: nft(8)."""

_NEIGHBOURS = (
    "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query } "
    "accept"
)
_DEVICE_of_nft_rules = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,14}", re.ASCII)


class FirewallHost(NamedTuple):
    """What rules need of a host: devices by the name of their network in lower case, bridges, addresses of the frontend
    from which it is reached by SSH, the port of its SSH service, and the attributes that flags may name.
    """

    name: str
    devices: Mapping[str, Sequence[str]]
    bridges: Sequence[str] = ()
    frontend: Sequence[str] = ()
    ssh_port: int = 22
    attributes: Mapping[str, str] = {}


def devices_by_network(host: str, interfaces: Iterable[Interface]) -> dict[str, list[str]]:
    """Network in lower case → the devices that have the host's addresses there; VLANs of clusters have none.

    StateError for a device whose name is not valid.
    """
    found: dict[str, list[str]] = {}
    for one in interfaces:
        if not one.device or not one.subnet or one.is_vlan:
            continue
        device = one.device.partition(":")[0]
        if not _DEVICE_of_nft_rules.fullmatch(device):
            raise StateError(
                f'host {host} has the device "{printable(device)}", whose name is not valid: rocks set host interface '
                "iface"
            )
        devices = found.setdefault(one.subnet.lower(), [])
        if device not in devices:
            devices.append(device)
    return found


def check_renders(
    rule: FirewallRule, port_of: PortOf, host: str = "", attributes: Mapping[str, str] = {}
) -> None:
    """UserError for a rule that has no form in nft on the host, which has these attributes."""
    networks = {name.lower(): ["eth0"] for name in (rule.network, rule.output_network) if name}
    _statements(rule, FirewallHost(host, networks, attributes=attributes), port_of)


def firewall_file(host: FirewallHost, rules: Iterable[FirewallRule], port_of: PortOf) -> str:
    """The file for the rules of the host, in their order. StateError for a stored rule that is not valid."""
    ordered = sorted(rules, key=order_key)
    lines = [
        f"# Firewall rules of host {one_line(host.name)}, from rocks report host firewall.",
        "# Change them with rocks add firewall and rocks remove firewall, then run rocks sync host firewall.",
    ]
    lines += _without_tables()
    for table, hooks, kind, translates in (
        (NAT_TABLE, _NAT_HOOKS, "nat", True),
        (FILTER_TABLE, _HOOKS, "filter", False),
    ):
        body = [
            line
            for chain, priority in hooks.items()
            for line in _chain(
                host,
                chain,
                f"type {kind} hook {chain.lower()} priority {priority}; policy accept;",
                [rule for rule in ordered if rule.chain == chain and rule.translates is translates],
                port_of,
            )
        ]
        if body:
            lines += ["", f"table {table} {{", *body, "}"]
    return "".join(f"{line}\n" for line in lines)


def _without_tables() -> list[str]:
    """A table that is not there cannot be deleted, hence each is declared first."""
    return [
        line for table in (NAT_TABLE, FILTER_TABLE) for line in (f"table {table}", f"delete table {table}")
    ]


def no_firewall() -> str:
    """The file that removes our tables."""
    return "".join(f"{line}\n" for line in _without_tables())


def _chain(
    host: FirewallHost, chain: str, head: str, rules: Sequence[FirewallRule], port_of: PortOf
) -> Iterator[str]:
    if not rules:
        return
    yield f"  chain {chain.lower()} {{"
    yield f"    {head}"
    if " filter " in head:
        yield from (f"    {line}" for line in _always(host, chain))
    for rule in rules:
        comment = f": {one_line(rule.comment)}" if rule.comment else ""
        yield f"    # {one_line(rule.name)} ({one_line(rule.scope)}){comment}"
        try:
            statements = _statements(rule, host, port_of)
        except UserError as error:
            owner = "" if rule.scope == "global" else f" of {rule.scope} {printable(rule.member)}"
            again = "" if references(rule.flags) else "; rocks remove firewall, then add it again"
            raise StateError(
                f'the firewall rule "{printable(rule.name)}"{owner} is not valid: {error}{again}'
            ) from None
        yield from (f"    {line}" for line in statements)
    yield "  }"


def _always(host: FirewallHost, chain: str) -> Iterator[str]:
    """What no rule refuses: open connections, the machine itself, the frontend's SSH, the neighbours of IPv6."""
    yield "# always: open connections, and SSH of the frontend"
    yield "ct state { established, related } accept"
    if chain == "INPUT":
        yield 'iifname "lo" accept'
        # conntrack knows no connection from before the first rule; such a segment opens none
        yield f"tcp dport {host.ssh_port} tcp flags & (syn | ack) != syn accept"
        if host.frontend:
            yield f"ip saddr {{ {', '.join(host.frontend)} }} tcp dport {host.ssh_port} accept"
        yield _NEIGHBOURS
    elif chain == "OUTPUT":
        yield 'oifname "lo" accept'
        yield f"tcp sport {host.ssh_port} accept"
        yield _NEIGHBOURS
    else:
        # only where the kernel has frames of bridges filtered; the profile of a host of virtual machines forbids it
        for bridge in host.bridges:
            yield f'iifname "{bridge}" oifname "{bridge}" accept'


def _statements(rule: FirewallRule, host: FirewallHost, port_of: PortOf) -> list[str]:
    """The rule for nft; a comment when the host is not on its network."""
    given = with_values(rule.flags, host.attributes, host.name)
    flags = translate_flags(given, rule.protocol, rule.action, port_of)
    _check_directions(rule, flags)
    _check_families(rule, flags)
    matches = []
    for key, network in (("iifname", rule.network), ("oifname", rule.output_network)):
        if not network:
            continue
        devices = host.devices.get(network.lower())
        if not devices:
            return [f"# left out: the host has no device on the network {one_line(network)}"]
        matches.append(f"{key} {_names(devices)}")
    matches += [*_protocol(rule, flags, port_of), *flags.matches]
    return [" ".join([*matches, _target(rule, flags)])]


def _check_directions(rule: FirewallRule, flags: NftFlags) -> None:
    for key, option, chains in (
        ("iifname", "-i", ("OUTPUT", "POSTROUTING")),
        ("oifname", "-o", ("INPUT", "PREROUTING")),
    ):
        if rule.chain in chains and any(match.startswith(key) for match in flags.matches):
            raise UserError(f"flags: {option} is not possible in chain {rule.chain}")


_FAMILIES = {"icmp": "ip", "icmpv6": "ip6", "ipv6-icmp": "ip6"}


def _check_families(rule: FirewallRule, flags: NftFlags) -> None:
    found = {match.partition(" ")[0] for match in flags.matches} & {"ip", "ip6"}
    found |= {_FAMILIES[rule.protocol]} if rule.protocol in _FAMILIES else set()
    if rule.translates and "ip6" in found:
        raise UserError("address translation is of IPv4 alone: give no addresses and no protocol of IPv6")
    if len(found) > 1:
        raise UserError("the rule has addresses or a protocol of IPv4 and of IPv6: no packet has both")


def _names(devices: Sequence[str]) -> str:
    quoted = [f'"{device}"' for device in devices]
    return quoted[0] if len(quoted) == 1 else f"{{ {', '.join(quoted)} }}"


def _protocol(rule: FirewallRule, flags: NftFlags, port_of: PortOf) -> list[str]:
    if rule.service not in (ALL, NAT):
        return [f"{rule.protocol} dport {port_set([read_ports(rule.service, rule.protocol, port_of)])}"]
    number = protocol_number(rule.protocol)
    implied = rule.protocol in WITH_PORTS and any(
        match.startswith(f"{rule.protocol} ") for match in flags.matches
    )
    return [] if number is None or implied else [f"meta l4proto {number}"]


def _target(rule: FirewallRule, flags: NftFlags) -> str:
    target = flags.target
    if rule.action == "REJECT":
        return f"reject with {target.get('--reject-with', 'icmpx port-unreachable')}"
    if rule.action == "LOG":
        prefix = f' prefix "{target["--log-prefix"]}"' if "--log-prefix" in target else ""
        return f"log{prefix} level {target.get('--log-level', 'warn')}"
    if rule.action in ("SNAT", "DNAT"):
        return f"{rule.action.lower()} to {target['--to-source' if rule.action == 'SNAT' else '--to-destination']}"
    if rule.action in ("MASQUERADE", "REDIRECT"):
        return rule.action.lower() + (f" to {target['--to-ports']}" if "--to-ports" in target else "")
    return rule.action.lower()
