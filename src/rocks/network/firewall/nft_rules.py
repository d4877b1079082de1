"""The firewall rules of a host as a file for nft(8). Pure.

The file replaces two tables of this system in one transaction of the kernel, and names no other: those of libvirt, of
the storage ports of a NAS and of the site stay. Chains without a rule are left out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import StateError, UserError
from rocks.core.names import printable
from rocks.core.terminal import one_line
from rocks.network.firewall.nft_flags import NftFlags, port_set, references, translate_flags, with_values
from rocks.network.firewall.rules import ALL, NAT, WITH_PORTS, order_key, protocol_number, read_ports

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rocks.inventory.records import Interface
    from rocks.network.firewall.rules import FirewallRule, PortOf

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
ConditionPathExists={FIREWALL_FILE}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f {FIREWALL_FILE}

[Install]
WantedBy=multi-user.target
"""
"""A restart replaces the rules at once. The start of nftables.service removes all tables, hence PartOf."""

_HOOKS = {"INPUT": 0, "FORWARD": 0, "OUTPUT": 0}
_NAT_HOOKS = {"PREROUTING": -100, "OUTPUT": -100, "POSTROUTING": 100}
"""Chain of iptables → its priority, as a number: RHEL 8's nft has few names for them. Source: nft(8)."""

_NEIGHBOURS = (
    "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query } "
    "accept"
)
_DEVICE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,14}", re.ASCII)


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
        if not _DEVICE.fullmatch(device):
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
