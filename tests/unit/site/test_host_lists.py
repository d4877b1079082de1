"""Lists of hosts for other programs."""

from rocks.inventory.addresses import AddressedInterface
from rocks.inventory.records import Network
from rocks.network.dns.names import name_addresses
from rocks.site.host_lists import equivalent_hosts, known_hosts_lines, names_of_hosts, tentakel_configuration

NETWORKS = (
    Network("private", "10.1.0.0", "255.255.0.0", 1500, "local", True),
    Network("ib", "10.2.0.0", "255.255.0.0", 1500, "ib.local", True),
)
NAMES = names_of_hosts(
    name_addresses(
        [
            AddressedInterface("a", "", "10.1.0.2", "private"),
            AddressedInterface("a", "a-ib", "10.2.0.2", "ib"),
        ],
        NETWORKS,
        [("a", "first")],
    ).addresses
)


def test_all_names_and_addresses_of_a_host_have_its_key() -> None:
    assert known_hosts_lines(NAMES, {"a": ["ssh-ed25519 AAAA"], "b": ["x y"]}) == (
        "a,first,a.local,a-ib,a-ib.ib.local,10.1.0.2,10.2.0.2 ssh-ed25519 AAAA\n"
    )


def test_equivalent_hosts_are_one_name_a_line() -> None:
    assert equivalent_hosts(NAMES).split() == [
        *("a", "first", "a.local", "a-ib", "a-ib.ib.local", "10.1.0.2", "10.2.0.2")
    ]


def test_groups_of_tentakel() -> None:
    text = tentakel_configuration({"compute": ["a", "b"], "nas": []})
    assert text.endswith("group default ()\n  @compute\n\ngroup compute ()\n  +a\n  +b\n")
