"""Which address has which names."""

import pytest

from rocks.inventory.records import Network
from rocks.network.dns.names import NamedInterface, SiteNames, name_addresses

PRIVATE = Network("private", "10.1.0.0", "255.255.0.0", 1500, "local", True)
IB = Network("ib", "10.2.0.0", "255.255.0.0", 1500, "ib.local", True)
PUBLIC = Network("public", "203.0.113.0", "255.255.255.0", 1500, "Example.org", False)
NETWORKS = (PRIVATE, IB, PUBLIC)


def names(*interfaces: tuple[str, str, str, str], aliases: tuple[tuple[str, str], ...] = ()) -> SiteNames:
    return name_addresses([NamedInterface(*one) for one in interfaces], NETWORKS, aliases)


def lines(found: SiteNames) -> list[tuple[str, ...]]:
    return [(str(one.address), one.full_name, *one.others) for one in found.addresses]


def test_the_hosts_name_and_aliases_are_at_its_address_on_private() -> None:
    found = names(
        ("head", "head", "203.0.113.2", "public"),
        ("head", "head", "10.1.0.1", "private"),
        ("compute-0-0", "compute-0-0-ib", "10.2.0.9", "ib"),
        ("compute-0-0", "", "10.1.0.9", "private"),
        aliases=(("compute-0-0", "c00"), ("HEAD", "gate"), ("compute-0-0", "c.x")),
    )
    assert lines(found) == [
        ("10.1.0.1", "head.local", "head", "gate"),
        ("10.1.0.9", "compute-0-0.local", "compute-0-0", "c00", "c.x"),
        ("10.2.0.9", "compute-0-0-ib.ib.local", "compute-0-0-ib"),
        ("203.0.113.2", "head.example.org"),
    ]
    assert found.problems == ()


def test_a_host_outside_of_private_has_its_name_at_its_first_address() -> None:
    found = names(("login", "www", "203.0.113.5", "public"), ("login", "x", "10.2.0.5", "ib"))
    assert lines(found) == [
        ("10.2.0.5", "x.ib.local", "x"),
        ("203.0.113.5", "www.example.org", "login", "www"),
    ]


def test_a_name_of_two_interfaces_does_not_stand_alone() -> None:
    found = names(("a", "same", "10.1.0.2", "private"), ("b", "same", "10.1.0.3", "private"))
    assert lines(found) == [("10.1.0.2", "same.local", "a"), ("10.1.0.3", "same.local", "b")]


@pytest.mark.parametrize(
    "interface",
    [
        ("a", "b c", "10.1.0.2", "private"),
        ("a", "a\n10.1.0.1 head", "10.1.0.2", "private"),
        ("a;rm", "", "10.1.0.2", "private"),
        ("ä", "", "10.1.0.2", "private"),
        ("a", "", "10.1.0.2\t", "private"),
        ("a", "", "fe80::1", "private"),
    ],
)
def test_what_is_no_name_is_left_out_and_reported(interface: tuple[str, str, str, str]) -> None:
    found = names(interface, ("good", "", "10.1.0.3", "private"))
    assert lines(found) == [("10.1.0.3", "good.local", "good")]
    assert len(found.problems) == 1 and found.problems[0].isprintable()


def test_interfaces_without_address_or_zone_are_left_out_silently() -> None:
    found = names(("a", "", "10.9.0.1", "nowhere"))
    assert (found.addresses, found.problems) == ((), ())
