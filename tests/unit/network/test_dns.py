"""Names: which there are, zones, and the part of a file that is the system's."""

import pytest

from rocks.core.errors import StateError
from rocks.inventory.addresses import AddressedInterface
from rocks.inventory.records import Network
from rocks.network.dns.names import (
    Additions,
    SiteNames,
    Zone,
    hosts_lines,
    name_addresses,
    serial_of,
    served_zones,
    with_serial,
    zone_text,
)
from rocks.network.dns.service import BEGIN, END, with_part
from rocks.site.host_lists import names_of_hosts

OF_HOSTS = Network("private", "10.1.0.0", "255.255.0.0", 1500, "local", True)
IB = Network("ib", "10.2.0.0", "255.255.0.0", 1500, "ib.local", True)
PUBLIC = Network("public", "203.0.113.0", "255.255.255.0", 1500, "Example.org", False)
OF_NAMES = (OF_HOSTS, IB, PUBLIC)


def names(*interfaces: tuple[str, ...], aliases: tuple[tuple[str, str], ...] = ()) -> SiteNames:
    return name_addresses([AddressedInterface(*one) for one in interfaces], OF_NAMES, aliases)


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


def test_a_host_outside_of_private_has_its_name_there() -> None:
    found = names(("login", "LOGIN", "203.0.113.5", "public"), ("login", "x", "10.2.0.5", "ib"))
    assert lines(found) == [
        ("10.2.0.5", "x.ib.local", "x"),
        ("203.0.113.5", "LOGIN.example.org", "login"),
    ]


def test_an_address_with_a_name_of_its_own_has_never_that_of_its_host() -> None:
    found = names(("login", "www", "10.1.0.5", "private", "eth0"), aliases=(("login", "l"),))
    assert lines(found) == [("10.1.0.5", "www.local", "www")]
    assert found.problems == (
        "no address has the name of host login, for its interfaces have names of their own: rocks set host interface "
        "name login eth0 login gives it to eth0",
    )


ADAPTER = ("c", "", "10.1.0.9", "private", "eth0")
INFINIBAND = ("c", "c", "10.2.0.9", "ib", "ib0")
BMCS = (
    ("c", "", "10.1.200.9", "private", "ipmi"),
    ("c", "c", "10.1.200.9", "private", "lan", "1"),
    ("c", "c", "10.1.200.9", "private", "BMC0"),
)


@pytest.mark.parametrize("bmc", BMCS)
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (2, 1, 0), (1, 2, 0)])
def test_a_bmc_never_has_the_name_of_its_host(bmc: tuple[str, ...], order: tuple[int, ...]) -> None:
    stored = (ADAPTER, INFINIBAND, bmc)
    found = names(*(stored[place] for place in order))
    assert lines(found) == [
        ("10.1.0.9", "c.local", "c"),
        ("10.1.200.9", f"c-{bmc[4]}.local", f"c-{bmc[4]}"),
        ("10.2.0.9", "c.ib.local"),
    ]
    assert names_of_hosts(found.addresses) == {"c": ["c", "c.local", "c.ib.local", "10.1.0.9", "10.2.0.9"]}


def test_a_bmc_alone_on_its_network_keeps_the_name() -> None:
    found = names(ADAPTER, ("c", "c", "10.2.0.9", "ib", "ipmi", "1"))
    assert lines(found) == [("10.1.0.9", "c.local", "c"), ("10.2.0.9", "c.ib.local")]


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


HOSTS = (
    AddressedInterface("head", "", "10.1.0.1", "private"),
    AddressedInterface("head", "", "203.0.113.2", "public"),
    AddressedInterface("c_0", "c_0-ib", "10.2.16.9", "ib"),
    AddressedInterface("c_0", "", "10.1.0.9", "private"),
    AddressedInterface("gate", "", "192.0.2.5", "few"),
)
ALIASES = (("c_0", "c0"), ("c_0", "gate"), ("head", "www.local"), ("head", "www.example.org"))


def network(name: str, subnet: str, netmask: str, zone: str, serves: bool = True) -> Network:
    return Network(name, subnet, netmask, 1500, zone, serves)


NETWORKS = (
    network("private", "10.1.0.0", "255.255.0.0", "local"),
    network("public", "203.0.113.0", "255.255.255.0", "example.org", serves=False),
    network("ib", "10.2.16.0", "255.255.252.0", "ib.local"),
    network("few", "192.0.2.0", "255.255.255.248", "few.local"),
)


def zones() -> dict[str, Zone]:
    found = served_zones(name_addresses(HOSTS, NETWORKS, ALIASES).addresses, NETWORKS)
    assert len({zone.name for zone in found}) == len(found)
    return {zone.name: zone for zone in found}


def test_a_zone_has_hosts_interfaces_and_aliases() -> None:
    assert zones()["local"].records == (
        "head IN A 10.1.0.1",
        "www IN A 10.1.0.1",
        "c_0 IN A 10.1.0.9",
        "c0 IN A 10.1.0.9",
        "; gate, an alias of c_0, is also the name of a host or an interface",
    )
    assert zones()["ib.local"].records == ("c_0-ib IN A 10.2.16.9",)


def test_a_name_is_in_the_nearest_served_zone() -> None:
    """named answers from the nearest zone alone, also where the network of the name is not served."""
    networks = (
        network("private", "10.1.0.0", "255.255.0.0", "local", serves=False),
        network("storage", "10.2.0.0", "255.255.0.0", "storage.local"),
        network("deep", "10.3.0.0", "255.255.0.0", "deep.storage.local"),
        network("dark", "10.4.0.0", "255.255.0.0", "dark.deep.storage.local", serves=False),
    )
    hosts = (
        AddressedInterface("storage", "", "10.1.0.1", "private"),
        AddressedInterface("other", "", "10.1.0.2", "private"),
        AddressedInterface("deep", "", "10.2.0.3", "storage"),
        AddressedInterface("www", "", "10.3.0.4", "deep"),
        AddressedInterface("dim", "", "10.4.0.5", "dark"),
    )
    aliases = (
        ("other", "www.deep.storage"),
        ("other", "free.storage"),
        ("deep", "files"),
        ("deep", "a.b"),
        ("www", "disks.storage.local"),
    )
    found = served_zones(name_addresses(hosts, networks, aliases).addresses, networks)
    assert [(one.name, one.records) for one in found if not one.name.endswith(".arpa")] == [
        (
            "deep.storage.local",
            (
                "; www.deep.storage, an alias of other, is also the name of a host or an interface",
                "@ IN A 10.2.0.3",
                "www IN A 10.3.0.4",
            ),
        ),
        (
            "storage.local",
            ("@ IN A 10.1.0.1", "free IN A 10.1.0.2", "files IN A 10.2.0.3", "disks IN A 10.3.0.4"),
        ),
    ]


def test_reverse_zones_cover_their_network_and_nothing_else() -> None:
    found = zones()
    assert found["1.10.in-addr.arpa"].records == ("1.0 IN PTR head.local.", "9.0 IN PTR c_0.local.")
    parts = [name for name in found if name.endswith(".2.10.in-addr.arpa")]
    assert parts == [f"{number}.2.10.in-addr.arpa" for number in (16, 17, 18, 19)]
    assert found["16.2.10.in-addr.arpa"].records == ("9 IN PTR c_0-ib.ib.local.",)
    assert found["5.2.0.192.in-addr.arpa"].records == ("@ IN PTR gate.few.local.",)
    assert not [name for name in found if "203" in name]


def test_the_serial_number_is_found_and_replaced() -> None:
    (server, *_) = name_addresses(HOSTS, NETWORKS, ALIASES).addresses
    text = zone_text(zones()["local"], server, 1234, Additions("/site/local", "12ab"))
    assert serial_of(text) == 1234
    assert with_serial(text, 99) == text.replace("1234", "99")
    assert text.endswith("$INCLUDE /site/local\n")
    assert serial_of("$TTL 3600\n") == 0


def test_a_server_below_another_zone_has_its_address_there() -> None:
    networks = (
        network("private", "10.1.0.0", "255.255.0.0", "sub.local"),
        network("ib", "10.2.0.0", "255.255.0.0", "local"),
    )
    (server,) = name_addresses(HOSTS[:1], networks, ()).addresses
    (outer, *_) = served_zones([server], networks)
    assert "head.sub IN A 10.1.0.1\n" in zone_text(outer, server, 1)


def test_a_line_of_the_hosts_file_has_the_full_name_first() -> None:
    lines = hosts_lines(name_addresses(HOSTS, NETWORKS, ALIASES).addresses)
    assert lines.splitlines()[:2] == [
        "10.1.0.1\thead.local head www.local www.example.org",
        "10.1.0.9\tc_0.local c_0 c0 gate",
    ]


def test_many_aliases_are_on_several_lines() -> None:
    aliases = [("head", f"a{number}") for number in range(70)]
    lines = hosts_lines(name_addresses(HOSTS[:1], NETWORKS, aliases).addresses).splitlines()
    assert [line.split()[0] for line in lines] == ["10.1.0.1"] * 3
    assert sum(len(line.split()) - 1 for line in lines) == 72


OLD = "127.0.0.1\tlocalhost\n"


def test_a_new_part_comes_at_the_end() -> None:
    assert with_part(OLD, "a\n", "x") == f"{OLD}{BEGIN}\na\n{END}\n"
    assert with_part("no line end", "a\n", "x") == f"no line end\n{BEGIN}\na\n{END}\n"
    assert with_part("", "a\n", "x") == f"{BEGIN}\na\n{END}\n"


def test_the_part_is_replaced_in_its_place_and_the_rest_is_left() -> None:
    whole = f"{OLD}{BEGIN}\na\n{END}\nlast \r\n"
    assert with_part(whole, "b\nc\n", "x") == f"{OLD}{BEGIN}\nb\nc\n{END}\nlast \r\n"
    assert with_part(whole, "a\n", "x") == whole
    assert with_part(whole, "", "x") == f"{OLD}last \r\n"


@pytest.mark.parametrize(
    "damaged",
    [
        f"{BEGIN}\n",
        f"{END}\n",
        f"{END}\n{BEGIN}\n",
        f"{BEGIN}\n{END}\n{BEGIN}\n{END}\n",
        f"{BEGIN}\n{BEGIN}\n{END}\n",
    ],
)
def test_a_damaged_part_is_refused(damaged: str) -> None:
    with pytest.raises(StateError, match="/etc/hosts does not have one line"):
        with_part(damaged, "a\n", "/etc/hosts")
