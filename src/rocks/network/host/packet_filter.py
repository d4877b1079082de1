"""Packet filters on the devices of guests: chains of nftables, one for each device; an operator reads them by `nft`.

On every network a guest sends untagged frames under its own MAC address, and no link-local control frames. On a shared
network it sends only IPv4, ARP and IPv6 under its own addresses, and no messages of DHCP servers or routers. Its IPv6
addresses are the configured ones and the link-local address of its MAC address (RFC 4291, appendix A).

A frame from a guest is egress on a macvtap (Linux 6.1, drivers/net/tap.c: dev_queue_xmit), but ingress on a tap that is
a port of a bridge (tun.c: netif_rx). Chains of egress need Linux 5.16 with CONFIG_NETFILTER_EGRESS.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import socket
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Protocol, Sequence, Tuple

from rocks.core.errors import StateError, ToolError
from rocks.core.process import LateError, run, run_checked
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change

Drops = Tuple[Tuple[str, int], ...]
"""(reason, dropped frames), in order; empty without a filter."""


class Rule(NamedTuple):
    """A statement of nft(8). With a `reason`, a word, it drops the frames that match, and counts them."""

    match: str
    reason: str = ""


class Sender(NamedTuple):
    """The sender: its MAC address and, on a shared network, its IP addresses.

    Without known IPv4 addresses it may use any except those of `foreign`.
    """

    mac: str
    is_shared: bool = False
    ipv4: Tuple[str, ...] = ()
    ipv6: Tuple[str, ...] = ()
    foreign: Tuple[str, ...] = ()


class GuestDevice(NamedTuple):
    """The host device of a guest's interface: a macvtap, or a tap that is a port of a bridge."""

    name: str
    is_macvtap: bool


class FilterDriver(Protocol):
    """Packet filters on the devices of guests."""

    def ensure(self, device: GuestDevice, rules: Sequence[Rule]) -> Change:
        """Set exactly these rules for frames that the guest sends, in one step; without rules, remove the filter.

        The caller holds `Place.FILTERS_LOCK`, for rules of devices that are gone are removed, too.
        StateError when the device does not exist, ToolError when the kernel rejects a rule.
        """

    def read(self, devices: Sequence[GuestDevice]) -> Dict[str, Drops]:
        """Device → frames dropped by its rules; devices that do not exist are omitted."""

    def works(self) -> bool:
        """Whether the kernel supports packet filters; loads modules if necessary."""

    def addresses(self) -> Tuple[str, ...]:
        """The host's IPv4 addresses, sorted, without that of the loopback device."""


def link_local(mac: str) -> str:
    """The link-local IPv6 address of this MAC address (modified EUI-64)."""
    own = bytes(int(octet, 16) for octet in mac.split(":"))
    number = bytes([own[0] ^ 2]) + own[1:3] + b"\xff\xfe" + own[3:]
    return str(ipaddress.IPv6Address(bytes.fromhex("fe80000000000000") + number))


def rules_for(sender: Sender) -> Tuple[Rule, ...]:
    """The rules of one interface, in evaluation order."""
    everywhere = (
        Rule("ether type { 0x8100, 0x88a8, 0x9100, 0x9200, 0x9300 }", "tagged"),
        Rule(f"ether saddr != {sender.mac}", "mac"),
        # pause; reserved addresses of IEEE 802.1D (spanning tree, LACP, 802.1X, LLDP), and those of Cisco
        Rule("ether type 0x8808", "control"),
        Rule("@ll,0,44 0x0180c200000", "control"),
        Rule("ether daddr { 01:00:0c:cc:cc:cc, 01:00:0c:cc:cc:cd }", "control"),
    )
    if not sender.is_shared:
        return everywhere
    known = (
        # QEMU's announcement of a guest that has moved, so that switches find its new port (RARP, RFC 903)
        Rule(f"ether type 0x8035 @nh,0,48 0x000108000604 @nh,64,48 0x{sender.mac.replace(':', '')} accept"),
        Rule("ether type != { ip, arp, ip6 }", "type"),
    )
    return (*everywhere, *known, *_arp(sender), *_ipv4(sender), *_ipv6(sender))


# A match on bytes that a frame does not have is false. So each protocol ends with what may pass, and drops the rest.


def _arp(sender: Sender) -> Iterator[Rule]:
    """ARP under the sender's addresses passes, and so do probes for them (RFC 5227, sender 0.0.0.0)."""
    own = f"arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp saddr ether {sender.mac}"
    if sender.ipv4:
        yield Rule(f"{own} arp saddr ip {_set(sender.ipv4)} accept")
        yield Rule(f"{own} arp saddr ip 0.0.0.0 arp daddr ip {_set(sender.ipv4)} accept")
    else:
        for address in ("saddr", "daddr"):
            if sender.foreign:
                yield Rule(f"arp {address} ip {_set(sender.foreign)}", "arp")
        yield Rule(f"{own} arp daddr ip != 255.255.255.255 accept")
    yield Rule("ether type arp", "arp")


def _ipv4(sender: Sender) -> Iterator[Rule]:
    """IPv4 under the sender's addresses passes; 0.0.0.0 may send DHCP requests only.

    What DHCP servers send, IGMP queries and IGMP fragments are dropped. Later fragments have no ports. Only routers
    send IGMP queries; a fragment could hide one.
    """
    yield Rule("ip saddr 0.0.0.0 ip frag-off & 0x3fff == 0 udp sport 68 udp dport 67 accept")
    if sender.ipv4:
        yield Rule(f"ip saddr != {_set(sender.ipv4)}", "ipv4")
    else:
        yield Rule(f"ip saddr {_set(('0.0.0.0', *sender.foreign))}", "ipv4")
    yield Rule("udp sport 67 ether type ip", "dhcp")
    yield Rule("udp dport 68 ether type ip", "dhcp")
    yield Rule("ip protocol igmp ip frag-off & 0x3fff != 0", "igmp")
    yield Rule("ip protocol igmp @th,0,8 { 0x11, 0x30, 0x32 }", "igmp")
    yield Rule(_ROUTERS_OF_IPV4, "router")
    yield Rule("icmp type { redirect, router-advertisement } ether type ip", "router")
    yield Rule("ether type ip meta l4proto != 255 accept")  # the kernel has found the header valid
    yield Rule("ether type ip", "ipv4")


_HARMLESS = "{ 6, 47, 50, 132 }"
"""TCP, GRE, ESP, SCTP by number."""

_REPORTS = "{ 131, 132, 143 }"
"""Multicast listener reports (RFC 2710, RFC 3810)."""

_ONLY_OF_ROUTERS = "{ 130, 134, 137, 138, 151, 153 }"
"""Multicast listener query, router advertisement, redirect, renumbering, multicast router advertisement and end."""

_ROUTERS_OF_IPV4 = "ip protocol { 89, 103, 112 }"
"""OSPF, PIM, VRRP."""


def _ipv6(sender: Sender) -> Iterator[Rule]:
    """IPv6 under the sender's addresses passes; `::` may send duplicate address detection and listener reports only.

    Messages of routers, DHCPv6 servers and other neighbours are dropped, and extension headers that can hide them
    (RFC 7113), but for a router alert of eight bytes before a listener report.
    """
    own = _set(f"0x{int(ipaddress.IPv6Address(one)):032x}" for one in (link_local(sender.mac), *sender.ipv6))
    kind, behind, about = "@nh,320,8", "@nh,336,16", "@nh,384,128"
    yield Rule(f"@nh,64,128 != {own} ip6 saddr != ::", "ipv6")
    yield Rule("ip6 saddr :: ip6 nexthdr != { 0, 58 }", "ipv6")
    yield Rule(f"ip6 saddr :: ip6 nexthdr 58 {kind} != {{ 131, 132, 135, 143 }}", "ipv6")
    for match in (
        "ip6 nexthdr != { 0, 6, 17, 44, 47, 50, 58, 132 }",
        "ip6 nexthdr 17 @nh,320,16 547",
        f"ip6 nexthdr 17 {behind} 546",
        f"ip6 nexthdr 58 {kind} {_ONLY_OF_ROUTERS}",
        f"ip6 nexthdr 58 {kind} 136 {about} != {own}",
        f"ip6 nexthdr 58 {kind} 135 ip6 saddr :: {about} != {own}",
        "ip6 nexthdr 0 @nh,320,16 != 0x3a00",
        f"ip6 nexthdr 0 @nh,384,8 != {_REPORTS}",
        f"ip6 nexthdr 44 {kind} != {{ 6, 17, 50, 132 }}",
        f"ip6 nexthdr 44 {kind} 17 {behind} & 0xfff8 == 0 @nh,384,16 547",
        f"ip6 nexthdr 44 {kind} 17 {behind} & 0xfff8 == 0 @nh,400,16 546",
    ):
        yield Rule(match, "neighbour")
    for match in (
        f"ip6 nexthdr {_HARMLESS}",
        f"ip6 nexthdr 17 {behind} != 546",
        f"ip6 nexthdr 58 {kind} != {{ 135, 136 }}",
        f"ip6 nexthdr 58 {about} != 0",
        f"ip6 nexthdr 0 @nh,384,8 {_REPORTS}",
        f"ip6 nexthdr 44 {kind} {{ 6, 50, 132 }}",
        f"ip6 nexthdr 44 {kind} 17 {behind} & 0xfff8 != 0",
        f"ip6 nexthdr 44 {kind} 17 @nh,400,16 != 546",
    ):
        yield Rule(f"{match} accept")
    yield Rule("ether type ip6", "ipv6")


def _set(values: Iterable[str]) -> str:
    return f"{{ {', '.join(dict.fromkeys(values))} }}"


NFT = "/usr/sbin/nft"
_TABLE = "netdev rocks"
_CHAIN = "guest-"
_DEADLINE_SECONDS = 20.0
_PROBE = """\
add table netdev rocks-probe
add chain netdev rocks-probe probe { type filter hook egress device "lo" priority 0; }
"""


class Filters:
    """The packet filters of this process' network namespace. What is not documented here is in `FilterDriver`."""

    def ensure(self, device: GuestDevice, rules: Sequence[Rule]) -> Change:
        chains, number = _chains(), _number(device.name)
        if rules and number is None:
            raise StateError(f"this host has no network device {device.name}")
        if not rules and _CHAIN + device.name not in chains:
            return UNCHANGED
        comments = _comments(rules, number)
        if rules and comments == _comments_of(_CHAIN + device.name, chains):
            return UNCHANGED
        # newer kernels keep the chain of a device that is gone, and a device that gets its name would get its rules
        surplus = [chain for chain in chains if _number(chain[len(_CHAIN) :]) is None]
        lines = [f"add table {_TABLE}"]
        for chain in dict.fromkeys([*surplus, _CHAIN + device.name]):
            # it may go with its device meanwhile, which would end the transaction
            lines += [f"add chain {_TABLE} {chain}", f"delete chain {_TABLE} {chain}"]
        lines += _chain(device, rules, comments) if rules else ()
        try:
            text = "".join(f"{line}\n" for line in lines).encode("ascii")
            run_checked([NFT, "-f", "-"], deadline_seconds=_DEADLINE_SECONDS, standard_input=text)
        except ToolError as error:
            raise ToolError(f"the kernel of this host did not filter {device.name}: {error}") from None
        return CHANGED

    def read(self, devices: Sequence[GuestDevice]) -> Dict[str, Drops]:
        drops: Dict[str, Dict[str, int]] = {
            _CHAIN + one.name: {} for one in devices if _number(one.name) is not None
        }
        for row in _listed("table", *_TABLE.split()):
            of_chain = drops.get(row["rule"]["chain"]) if "rule" in row else None
            comment, packets = _rule(row["rule"]) if of_chain is not None else ("", None)
            if of_chain is not None and packets is not None:
                reason = comment.partition(" ")[0]
                of_chain[reason] = of_chain.get(reason, 0) + packets
        return {chain[len(_CHAIN) :]: tuple(of_chain.items()) for chain, of_chain in drops.items()}

    def works(self) -> bool:
        """As `FilterDriver.works`: the kernel checks a chain of egress, and does not make it."""
        try:
            answer = run(
                [NFT, "-c", "-f", "-"],
                deadline_seconds=_DEADLINE_SECONDS,
                standard_input=_PROBE.encode("ascii"),
            )
        except ToolError:  # there is no nft
            return False
        return answer.exit_status == 0

    def addresses(self) -> Tuple[str, ...]:
        from rocks.network.host.netlink import netlink  # takes 0.15 s

        with netlink("report the addresses of this host") as route:
            found = [message.get_attr("IFA_LOCAL") for message in route.get_addr(family=socket.AF_INET)]
        return tuple(sorted({str(address) for address in found if address} - {"127.0.0.1"}))


def _chains() -> List[str]:
    rows = (row["chain"] for row in _listed("chains", "netdev") if "chain" in row)
    return [str(row["name"]) for row in rows if f"netdev {row['table']}" == _TABLE]


def _chain(device: GuestDevice, rules: Sequence[Rule], comments: Sequence[str]) -> List[str]:
    name = f"{_TABLE} {_CHAIN}{device.name}"
    hook = "egress" if device.is_macvtap else "ingress"
    return [
        f'add chain {name} {{ type filter hook {hook} device "{device.name}" priority 0; policy accept; }}',
        *(
            f'add rule {name} {rule.match}{" counter drop" if rule.reason else ""} comment "{comment}"'
            for rule, comment in zip(rules, comments)
        ),
    ]


def _comments(rules: Sequence[Rule], number: Optional[int]) -> List[str]:
    """Each rule's reason and a digest of all rules, by which they are known again: nft prints them in other words.

    The digest includes the number of the device: after another device got the name, the old chain may be hooked to
    none.
    """
    of = (number, [tuple(rule) for rule in rules])
    digest = hashlib.sha256(repr(of).encode()).hexdigest()[:12]
    return [f"{rule.reason or 'pass'} {digest}" for rule in rules]


def _comments_of(chain: str, chains: Sequence[str]) -> List[str]:
    """The comments of the chain's rules in the kernel."""
    rows = _listed("chain", *_TABLE.split(), chain) if chain in chains else ()
    return [_rule(row["rule"])[0] for row in rows if "rule" in row]


def _rule(row: Dict[str, Any]) -> Tuple[str, Optional[int]]:
    counters = [one["counter"]["packets"] for one in row["expr"] if "counter" in one]
    return str(row.get("comment", "")), int(counters[0]) if counters else None


def _listed(*what: str) -> List[Dict[str, Any]]:
    """Rows of `nft list`; none of what does not exist, and where there is no nft: guests are not filtered there.

    LateError where nft does not answer.
    """
    try:
        answer = run([NFT, "-j", "list", *what], deadline_seconds=_DEADLINE_SECONDS)
    except LateError:
        raise
    except ToolError:
        return []
    return list(json.loads(answer.text)["nftables"]) if answer.exit_status == 0 else []


def _number(device: str) -> Optional[int]:
    """The kernel's number of a device; a new device of the same name has another one."""
    try:
        return socket.if_nametoindex(device)
    except OSError:
        return None
