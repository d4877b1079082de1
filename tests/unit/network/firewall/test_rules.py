"""Firewall rules of hosts, and the names of services in them."""

import pytest

from rocks.core.errors import UserError
from rocks.network.firewall.changes import port_of_service
from rocks.network.firewall.rules import (
    FirewallRule,
    Selection,
    check_networks,
    checked_rule,
    closed_networks,
    read_rule,
    resolve_rules,
)


def rule(name: str = "A1", **fields: str) -> FirewallRule:
    usual = {"service": "22", "protocol": "tcp", "chain": "INPUT", "action": "ACCEPT"}
    return FirewallRule(name, **{**usual, **fields})  # type: ignore[arg-type]


def checked(one: FirewallRule) -> FirewallRule:
    return checked_rule(one, lambda name, protocol: {"ssh": 22}.get(name))


def test_case_of_fixed_texts_does_not_count() -> None:
    given = rule(service="ALL", protocol="TCP", chain="input", action="Accept", source="SYSTEM")
    assert checked(given) == rule(service="all", source="system")


GIVEN = {"rulename": "A1", "service": "22", "protocol": "tcp", "chain": "INPUT", "action": "ACCEPT"}


def test_a_rule_needs_a_network() -> None:
    """One that comes in, one that goes out, or all; they must be there."""
    assert read_rule({**GIVEN, "network": "ALL"}, "os") == rule(scope="os")
    assert read_rule({**GIVEN, "output-network": "public"}, "os") == rule(scope="os", output_network="public")
    with pytest.raises(UserError, match="must supply network or output-network$"):
        read_rule({**GIVEN, "network": ""}, "os")
    with pytest.raises(UserError, match="must supply rulename, network or output-network"):
        read_rule({**GIVEN, "rulename": ""}, "os")
    check_networks(rule(network="Private"), ["private"])
    with pytest.raises(UserError, match='unknown network "privat"; .*private'):
        check_networks(rule(output_network="privat"), ["private"])


@pytest.mark.parametrize("service", ["ssh", "22", "0:65535", "all", "nat"])
def test_services(service: str) -> None:
    given = rule(service=service, chain="OUTPUT")
    assert checked(given) == given


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, 'rulename "" is not valid'),
        ({"name": "ä"}, "printable ASCII"),
        ({"name": "a\nb"}, "printable ASCII"),
        ({"name": " a"}, "the first and the last no blank"),
        ({"name": "a" * 129}, "1 to 128"),
        ({"service": "nothing"}, 'service "nothing" is not known for tcp'),
        ({"service": "22:21"}, "the first is higher"),
        ({"service": ":"}, 'port "" is not valid'),
        ({"service": "1;accept"}, "is not known"),
        ({"protocol": "all"}, "protocol must be tcp"),
        ({"protocol": "256"}, 'protocol "256" is not valid'),
        ({"protocol": "x"}, 'protocol "x" is not valid'),
        ({"chain": "MINE"}, 'chain "MINE" is not valid: it must be one of INPUT'),
        ({"action": "ACCEPT;"}, 'action "ACCEPT;" is not valid'),
        ({"source": "me"}, 'rulesrc "me" is not valid'),
        ({"action": "MASQUERADE"}, "MASQUERADE is possible in chain POSTROUTING only"),
        ({"chain": "PREROUTING"}, "PREROUTING is for address translation"),
        ({"service": "nat"}, "address translation has no chain INPUT"),
        (
            {"service": "nat", "chain": "OUTPUT", "action": "DROP"},
            "DROP does not belong to address translation",
        ),
        ({"chain": "OUTPUT", "network": "private"}, "OUTPUT has no incoming network"),
        ({"output_network": "private"}, "INPUT has no outgoing network"),
        ({"flags": "x" * 257}, "flags is too long"),
        ({"comment": "a\x1bb"}, "not a printable character"),
    ],
)
def test_what_is_refused(fields: dict[str, str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        checked(rule(**fields))
    assert message in str(caught.value)


def test_the_nearest_scope_counts_and_names_are_the_order() -> None:
    selections = [
        Selection("host", "C-0", 50),
        Selection("global", "global", 10),
        Selection("os", "linux", 20),
    ]
    rules = {
        ("global", "global"): [rule("b", comment="g"), rule("C", comment="g")],
        ("os", "linux"): [rule("B", comment="o")],
        ("host", "c-0"): [rule("a", comment="h")],
        ("host", "c-1"): [rule("z", comment="other")],
    }
    found = resolve_rules(rules, selections)
    assert [(one.name, one.comment) for one in found] == [("a", "h"), ("B", "o"), ("C", "g")]


def test_networks_that_are_closed() -> None:
    everything = {"service": "all", "protocol": "all"}
    accept = rule("A", network="Private", **everything)
    narrow = rule("B", network="storage", flags="-s 10.0.0.1", **everything)
    refuse = rule("R", action="REJECT", **everything)
    networks = ["private", "public", "storage"]
    assert closed_networks(networks, [accept, narrow, refuse]) == {"public": "R", "storage": ""}
    assert closed_networks(networks, [refuse, accept, narrow]) == dict.fromkeys(networks, "R")
    assert closed_networks(networks, [accept]) == {}


@pytest.mark.parametrize("name", ["no such service", "x" * 5000, "a\0b", "\ud800"])
def test_an_unknown_service_has_no_port(name: str) -> None:
    assert port_of_service(name, "tcp") is None
