"""The zones of DNS. What BIND's own programs make of them is in tests/system/commands/site/test_names.py."""

from rocks.inventory.records import Network
from rocks.network.dns.hosts_file import hosts_lines
from rocks.network.dns.names import NamedInterface, name_addresses
from rocks.network.dns.zones import Zone, serial_of, served_zones, with_serial, zone_text

HOSTS = (
    NamedInterface("head", "", "10.1.0.1", "private"),
    NamedInterface("head", "", "203.0.113.2", "public"),
    NamedInterface("c_0", "c_0-ib", "10.2.16.9", "ib"),
    NamedInterface("c_0", "", "10.1.0.9", "private"),
    NamedInterface("gate", "", "192.0.2.5", "few"),
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
    text = zone_text(zones()["local"], server, 1234, "/site/local")
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
