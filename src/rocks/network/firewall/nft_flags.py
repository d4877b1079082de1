"""Flags of a firewall rule, which are options of iptables(8), as matches and targets of nft(8). Pure.

Sources: iptables-extensions(8), nft(8). Options that are not here are refused: a rule without one of its matches would
apply to more than it should.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.core.version import guide_page
from rocks.network.firewall.rules import check_ports_possible, read_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rocks.network.firewall.rules import PortOf

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
