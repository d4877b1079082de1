"""Firewall rules: what one may contain, and which of several with the same name counts for a host. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.core.values import check_text
from rocks.network.network_rules import unknown_network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    PortOf = Callable[[str, str], int | None]
    """The port of a service by (name, protocol); None for an unknown one."""

SCOPES = ("global", "os", "appliance", "host")
SOURCES = ("custom", "system")
CHAINS = ("INPUT", "OUTPUT", "FORWARD", "PREROUTING", "POSTROUTING")
VERDICTS = ("ACCEPT", "DROP", "REJECT", "RETURN", "LOG")
TRANSLATIONS = {
    "MASQUERADE": ("POSTROUTING",),
    "SNAT": ("POSTROUTING",),
    "DNAT": ("PREROUTING", "OUTPUT"),
    "REDIRECT": ("PREROUTING", "OUTPUT"),
}
"""Action of network address translation → the chains in which it is possible."""

ALL, NAT = "all", "nat"

PROTOCOLS = {
    "icmp": 1,
    "igmp": 2,
    "tcp": 6,
    "udp": 17,
    "dccp": 33,
    "ipv6": 41,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "ipv6-icmp": 58,
    "icmpv6": 58,
    "ospf": 89,
    "vrrp": 112,
    "sctp": 132,
    "udplite": 136,
}
"""Name → number of the protocols that need no file of the machine. Source: IANA's protocol numbers."""

WITH_PORTS = ("tcp", "udp", "sctp", "dccp", "udplite")

_REQUIRED = ("rulename", "service", "chain", "action", "protocol")
_NAME_LONGEST, _TEXT_LONGEST = 128, 256
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.+-]{0,62}", re.ASCII)
_HIGHEST_PORT = 65535


class FirewallRule(NamedTuple):
    """A rule. A network is '' for all networks; flags are options of iptables; `member` belongs to `scope`."""

    name: str
    service: str
    protocol: str
    chain: str
    action: str
    network: str = ""
    output_network: str = ""
    flags: str = ""
    comment: str = ""
    source: str = SOURCES[0]
    scope: str = "global"
    member: str = "global"

    @property
    def translates(self) -> bool:
        """Whether the rule belongs to network address translation."""
        return self.service == NAT or self.action in TRANSLATIONS


class Selection(NamedTuple):
    """A scope and a member of it to which a host belongs; a higher precedence wins."""

    scope: str
    member: str
    precedence: int


def read_rule(given: Mapping[str, str], scope: str) -> FirewallRule:
    """The rule that the parameters of a command describe, for one network or two. UserError for a missing one."""
    networks = [given.get(name, "") for name in ("network", "output-network")]
    missing = [name for name in _REQUIRED if not given.get(name)]
    if not any(networks):
        missing.append("network or output-network")
    if missing:
        raise UserError(f"must supply {', '.join(missing)}")
    network, output_network = ("" if text.lower() == ALL else text for text in networks)
    return FirewallRule(
        given["rulename"],
        given["service"],
        given["protocol"],
        given["chain"],
        given["action"],
        network=network,
        output_network=output_network,
        flags=given.get("flags", ""),
        comment=given.get("comment", ""),
        source=given.get("rulesrc", SOURCES[0]),
        scope=scope,
    )


def check_networks(rule: FirewallRule, names: Iterable[str]) -> None:
    """UserError unless the networks of the rule have such names."""
    known = {name.lower(): name for name in names}
    for network in (rule.network, rule.output_network):
        if network and network.lower() not in known:
            raise unknown_network(network, known.values())


def checked_rule(rule: FirewallRule, port_of: PortOf) -> FirewallRule:
    """The rule in the spelling in which it is stored. UserError for a part that is not valid, or not together."""
    check_rule_name(rule.name)
    rule = rule._replace(
        service=_spelled(rule.service, (ALL, NAT)),
        protocol=_spelled(rule.protocol, (ALL, *PROTOCOLS)),
        chain=_one_of("chain", rule.chain, CHAINS),
        action=_one_of("action", rule.action, (*VERDICTS, *TRANSLATIONS)),
        source=_one_of("rulesrc", rule.source, SOURCES),
    )
    protocol_number(rule.protocol)
    if rule.service not in (ALL, NAT):
        check_ports_possible(rule.protocol, f'the service "{printable(rule.service)}"')
        read_ports(rule.service, rule.protocol, port_of)
    _check_chain(rule)
    check_text("flags", rule.flags, _TEXT_LONGEST)
    check_text("comment", rule.comment, _TEXT_LONGEST)
    return rule


def check_rule_name(name: str) -> None:
    """UserError unless `name` is valid: its case does not count, and rules are sorted by it, so it is plain ASCII."""
    if not (
        name.isascii() and name.isprintable() and 1 <= len(name) <= _NAME_LONGEST and name.strip() == name
    ):
        raise UserError(
            f'rulename "{printable(name)}" is not valid: it must be 1 to {_NAME_LONGEST} printable ASCII characters, '
            "the first and the last no blank"
        )


def protocol_number(protocol: str) -> int | None:
    """The number of a protocol; None for all. UserError for an unknown one."""
    if protocol in (ALL, "0"):
        return None
    if protocol in PROTOCOLS:
        return PROTOCOLS[protocol]
    if protocol.isascii() and protocol.isdigit() and len(protocol) <= 3 and int(protocol) <= 255:
        return int(protocol)
    names = ", ".join(PROTOCOLS)
    raise UserError(f'protocol "{printable(protocol)}" is not valid: it must be all, {names}, or a number')


def check_ports_possible(protocol: str, what: str) -> None:
    """UserError unless the protocol has ports; `what` needs them."""
    if protocol not in WITH_PORTS:
        raise UserError(f"{what} has ports: protocol must be tcp, udp, sctp, dccp or udplite, not {protocol}")


def read_ports(text: str, protocol: str, port_of: PortOf) -> tuple[int, int]:
    """(first, last) of `port`, `port:port` or a service name. UserError for another text."""
    first, colon, last = text.partition(":")
    if not colon:
        port = _port(first) if first.isdigit() else _named(first, protocol, port_of)
        return port, port
    ports = _port(first), _port(last)
    if ports[0] > ports[1]:
        raise UserError(f'the ports "{printable(text)}" are not valid: the first is higher than the last')
    return ports


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= _HIGHEST_PORT):
        raise UserError(
            f'port "{printable(text)}" is not valid: it must be a number from 0 to {_HIGHEST_PORT}'
        )
    return int(text)


def _named(name: str, protocol: str, port_of: PortOf) -> int:
    port = port_of(name, protocol) if _WORD.fullmatch(name) else None
    if port is None:
        raise UserError(
            f'service "{printable(name)}" is not known for {protocol}: give all, nat, a port, port:port, or a name in '
            "/etc/services of the frontend"
        )
    return port


def _check_chain(rule: FirewallRule) -> None:
    possible = TRANSLATIONS.get(rule.action, CHAINS)
    if rule.chain not in possible:
        raise UserError(f"the action {rule.action} is possible in chain {' or '.join(possible)} only")
    if rule.chain in ("PREROUTING", "POSTROUTING") and not rule.translates:
        raise UserError(
            f"the chain {rule.chain} is for address translation: give service=nat, or the action "
            f"{' or '.join(name for name, chains in TRANSLATIONS.items() if rule.chain in chains)}"
        )
    if rule.translates and rule.chain in ("INPUT", "FORWARD"):
        raise UserError(
            f"address translation has no chain {rule.chain}: give PREROUTING, OUTPUT or POSTROUTING"
        )
    if rule.translates and rule.action in ("REJECT", "DROP"):
        raise UserError(
            f"the action {rule.action} does not belong to address translation: filter in INPUT or FORWARD"
        )
    if rule.network and rule.chain in ("OUTPUT", "POSTROUTING"):
        raise UserError(
            f"the chain {rule.chain} has no incoming network: give network=all, and output-network="
        )
    if rule.output_network and rule.chain in ("INPUT", "PREROUTING"):
        raise UserError(
            f"the chain {rule.chain} has no outgoing network: give network=, and no output-network="
        )


def _spelled(text: str, choices: Iterable[str]) -> str:
    """The text, in lower case when it is one of the choices."""
    return text.lower() if text.lower() in choices else text


def _one_of(what: str, text: str, choices: Iterable[str]) -> str:
    for choice in choices:
        if choice.lower() == text.lower():
            return choice
    raise UserError(f'{what} "{printable(text)}" is not valid: it must be one of {", ".join(choices)}')


def order_key(rule: FirewallRule) -> tuple[str, str]:
    """By which the rules of a host are sorted: their names, in which case does not count."""
    return rule.name.lower(), rule.name


def resolve_rules(
    rules: Mapping[tuple[str, str], Iterable[FirewallRule]], selections: Iterable[Selection]
) -> list[FirewallRule]:
    """The rules of a host in their order: of each name the one whose scope has the highest precedence.

    `rules` are by scope and member, the member in lower case.
    """
    found: dict[str, FirewallRule] = {}
    for one in sorted(selections, key=lambda one: one.precedence):
        for rule in rules.get((one.scope, one.member.lower()), ()):
            found[rule.name.lower()] = rule
    return sorted(found.values(), key=order_key)


def closed_networks(networks: Iterable[str], rules: Iterable[FirewallRule]) -> dict[str, str]:
    """The networks, in lower case, from which only what rules name is accepted; rules in their order.

    The value is the name of the rule that refuses all, where no rule before it accepts anything; else it is empty.
    """
    found = set(networks)
    is_open: set[str] = set()
    accepting: set[str] = set()
    closed: dict[str, str] = {}
    for rule in rules:
        if rule.chain != "INPUT":
            continue
        concerned = ({rule.network.lower()} if rule.network else found) - is_open - closed.keys()
        concerns_all = (rule.service, rule.protocol, rule.flags) == (ALL, ALL, "")
        if rule.action == "ACCEPT":
            accepting |= concerned
            is_open |= concerned if concerns_all else set()
        elif rule.action in ("REJECT", "DROP") and concerns_all:
            closed |= {network: "" if network in accepting else rule.name for network in concerned}
    return {network: closed[network] for network in sorted(found & closed.keys())}
