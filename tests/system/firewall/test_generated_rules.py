"""Any rule is either refused with one sentence, or read by nft as one statement."""

import os
import shutil
from collections.abc import Iterator
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rocks.core.errors import UserError
from rocks.network.firewall.changes import port_of_service
from rocks.network.firewall.nft import FirewallHost, check_renders, firewall_file
from rocks.network.firewall.rules import CHAINS, TRANSLATIONS, VERDICTS, FirewallRule, checked_rule
from tests.generated import examples

from .namespaces import Namespace, namespaces

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("nft") is None, reason="nft and namespaces are for root"
)

HOST = FirewallHost("compute-0-0", {"private": ["eth0"], "public": ["eth1", "ib0"]}, ["eth0"], ["10.1.1.1"])
TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ('"', "lo", "eth+", "+", "x\n}", "; accept", "$x", "@s", "{", "10.0.0.1%a", "0", "''", "-", "!")
    ),
)
VALUES = {
    "-s": ("10.0.0.0/8", "0.0.0.0/0", "10.0.0.1,10.0.0.2/31,10.0.0.0/30", "::/0", "2001:db8::1,fe80::/10"),
    "-d": ("192.0.2.1", "255.255.255.255", "10.0.0.0/255.0.0.0"),
    "-i": ("lo", "eth+", "eth0.100"),
    "-o": ("lo", "eth1"),
    "--sport": ("0:65535", "1,2,3:5,4:9", "ssh"),
    "--dport": ("0", "65535", "0:0", "80,81,443"),
    "--state": ("NEW", "new,RELATED", "INVALID,UNTRACKED,NEW,NEW"),
    "--icmp-type": ("any", "8", "3/4", "255/255", "port-unreachable", "3/"),
    "--tcp-flags": ("ALL NONE", "SYN,SYN SYN", "ALL ALL", "SYN,ACK ACK,SYN"),
    "--mac-source": ("00:11:22:aa:BB:cc",),
    "--src-range": ("10.0.0.1-10.0.0.1", "0.0.0.0-255.255.255.255", "::1-::2"),
    "--dst-range": ("10.0.0.1",),
    "--limit": ("1/s", "9999999/day"),
    "--limit-burst": ("1", "99999"),
    "--comment": ("x", "'a b'"),
    "--reject-with": ("tcp-reset", "icmp-net-unreachable", "icmp-host-prohibited"),
    "--log-prefix": ("'a b: '", "x" * 29),
    "--log-level": ("7", "warning"),
    "--to-source": ("192.0.2.1", "192.0.2.1-192.0.2.9:1-65535", "192.0.2.1:0"),
    "--to-destination": ("10.0.0.1:80", "10.0.0.1-10.0.0.9"),
    "--to-ports": ("80", "1-2", "0-65535"),
    "-m": ("tcp", "multiport", "recent"),
}
FLAGS = st.lists(
    st.sampled_from(sorted(VALUES)).flatmap(
        lambda name: st.builds(
            lambda sign, value: f"{sign}{name} {value}",
            st.sampled_from(("", "", "", "! ")),
            st.one_of(st.sampled_from(VALUES[name]), st.sampled_from(VALUES[name]), TEXTS),
        )
    )
    | st.just("--syn")
    | TEXTS,
    max_size=3,
).map(" ".join)
RULES = st.builds(
    FirewallRule,
    name=st.one_of(st.sampled_from(("A1", "x\\", 'a"b', "#", "}")), TEXTS),
    service=st.one_of(st.sampled_from(("all", "all", "nat", "22", "0:65535", "ssh")), TEXTS),
    protocol=st.one_of(
        st.sampled_from(("all", "tcp", "tcp", "udp", "icmp", "sctp", "0", "255", "icmpv6")), TEXTS
    ),
    chain=st.sampled_from(CHAINS),
    action=st.sampled_from((*VERDICTS, *TRANSLATIONS)),
    network=st.sampled_from(("", "", "private", "Public", "storage")),
    output_network=st.sampled_from(("", "", "private", "public")),
    flags=FLAGS,
    comment=TEXTS,
)


@pytest.fixture(scope="module")
def network() -> Iterator[Namespace]:
    with namespaces("host") as made:
        yield made["host"]


PLACES = (
    *(("INPUT", action) for action in ("ACCEPT", "REJECT", "LOG", "RETURN")),
    *(("FORWARD", "DROP"), ("OUTPUT", "REJECT"), ("POSTROUTING", "SNAT"), ("POSTROUTING", "MASQUERADE")),
    *((chain, action) for chain in ("PREROUTING", "OUTPUT") for action in ("DNAT", "REDIRECT")),
)
NEEDED = {"SNAT": " --to-source 192.0.2.1", "DNAT": " --to-destination 10.0.0.1"}


def flag_rules() -> Iterator[FirewallRule]:
    """Each flag with each of its values, alone and with another one, in each place."""
    texts = [
        f"{sign}{name} {value}" for name, values in VALUES.items() for value in values for sign in ("", "! ")
    ]
    firsts = [f"{name} {values[0]}" for name, values in VALUES.items()]
    texts += [f"{one} {other}" for one in firsts for other in firsts]
    for text, protocol, (chain, action) in product(texts, ("all", "tcp", "udp", "icmp"), PLACES):
        needed = NEEDED.get(action, "")
        yield FirewallRule(
            "A",
            "all",
            protocol,
            chain,
            action,
            flags=text + ("" if needed and needed.split()[0] in text else needed),
        )


@pytest.mark.slow
def test_every_flag_in_every_place(network: Namespace) -> None:
    valid = []
    for rule in flag_rules():
        try:
            checked = checked_rule(rule, port_of_service)
            check_renders(checked, port_of_service)
            valid.append(checked)
        except UserError:
            pass
    assert len(valid) > 5000
    network.run("nft", "-c", "-f", "-", text=firewall_file(HOST, valid, port_of_service))


@pytest.mark.slow
@settings(max_examples=examples(25), deadline=None)
@given(rules=st.lists(RULES, min_size=40, max_size=40))
def test_a_rule_is_refused_or_one_statement(network: Namespace, rules: list[FirewallRule]) -> None:
    valid = []
    for number, rule in enumerate(rules):
        try:
            checked = checked_rule(rule._replace(name=f"{number:03}{rule.name}"), port_of_service)
            check_renders(checked, port_of_service)
        except UserError as error:
            assert str(error).isprintable()
        else:
            valid.append(checked)
    text = firewall_file(HOST, valid, port_of_service)
    lines = [line.strip() for line in text.splitlines()]
    statements = [n for n, line in enumerate(lines) if line.startswith("# 0")]
    assert len(statements) == len(valid), "each has one comment, and one line after it"
    network.run("nft", "-c", "-f", "-", text=text)
    for rule in valid:
        # alone, so that one rule cannot hide another's fault
        network.run("nft", "-c", "-f", "-", text=firewall_file(HOST, [rule], port_of_service))
