"""Networks."""

import json

import pytest

from tests.system.commands.conftest import Site


@pytest.fixture
def used(site: Site) -> Site:
    """A host on network private."""
    site.done("add host compute-0-0")
    site.done("add host interface compute-0-0 eth0 ip=10.1.255.254 subnet=private")
    return site


@pytest.mark.slow
def test_list_network(site: Site) -> None:
    assert site.done("list network") == (
        "NETWORK  SUBNET      NETMASK       MTU  DNSZONE     SERVEDNS\n"
        "private: 10.1.0.0    255.255.0.0   1500 local       True    \n"
        "public:  203.0.113.0 255.255.255.0 1500 example.org False   \n"
    )
    assert site.done("list network public private") == site.done("list network")
    assert site.done("list network pri% output-header=no") == ("10.1.0.0 255.255.0.0 1500 local   True    \n")
    assert json.loads(site.done("list network public json=yes"))[0]["list"][0]["servedns"] is False
    assert site.refused("list network nothing").startswith('unknown network "nothing"')


def test_add_network(site: Site) -> None:
    site.done("add network ib 192.168.0.0 255.255.255.0")
    site.done("add network netmask=255.255.254.0 fast 192.168.2.0 mtu=9216 dnszone=ib.local servedns=y")
    assert site.done("list network fast ib output-header=no") == (
        "ib:     192.168.0.0 255.255.255.0 1500 ib       False   \n"
        "fast:   192.168.2.0 255.255.254.0 9216 ib.local True    \n"
    )


def test_add_network_errors(site: Site) -> None:
    for arguments, message in [
        ((), "a network has a name, a subnet and a netmask, and 0 of them are given"),
        (
            ("10.5.0.0", "255.255.0.0"),
            "a network has a name, a subnet and a netmask, and 2 of them are given",
        ),
        (("name=ib", "netmask=255.255.0.0"), "a network has a name, a subnet and a netmask, and 2"),
        (("PRIVATE", "10.5.0.0", "255.255.0.0"), 'network "PRIVATE" exists'),
        (("local", "10.5.0.0", "255.255.0.0"), 'the network "private" has the dnszone "local" already'),
        (
            ("ib", "10.5.0.0", "255.255.0.0", "dnszone=LOCAL"),
            'the network "private" has the dnszone "local" already',
        ),
        (("ib", "10.5.0.1", "255.255.0.0"), 'subnet "10.5.0.1" is not valid with netmask 255.255.0.0'),
        (("ib", "10.5.0.0", "16"), 'netmask "16" is not valid: it must be IPv4'),
        (("ib", "10.5.0.0", "255.255.0.0", "mtu=big"), 'mtu "big" must be an integer from 576 to 65535'),
        (("ib", "10.5.0.0", "255.255.0.0", "dnszone=a b"), 'dnszone "a b" is not valid'),
        (("i b", "10.5.0.0", "255.255.0.0"), 'network "i b" is not valid'),
        (("all", "10.5.0.0", "255.255.0.0"), 'network "all" is not valid'),
        (("x" * 33, "10.5.0.0", "255.255.0.0"), "network "),
    ]:
        assert site.refused("add network", *arguments).startswith(message), arguments


@pytest.mark.parametrize(
    ("part", "value", "column", "listed"),
    [
        ("subnet", "10.7.0.0", "subnet", "10.7.0.0"),
        ("netmask", "255.255.255.0", "netmask", "255.255.255.0"),
        ("mtu", "9000", "mtu", "9000"),
        ("zone", "cluster.example.org", "dnszone", "cluster.example.org"),
        ("zone", "LOCAL", "dnszone", "LOCAL"),
        ("servedns", "no", "servedns", "False"),
    ],
)
def test_set_network(site: Site, part: str, value: str, column: str, listed: str) -> None:
    site.done("set network", part, "private", value)
    assert site.done("list network private", f"output-col={column}", "output-header=no").split() == [listed]
    site.done("set network", part, "private", f"{part}={value}")


def test_set_several_networks(site: Site) -> None:
    site.done("set network mtu % 9000")
    assert site.done("list network output-col=mtu").split() == ["MTU", "9000", "9000"]
    assert site.refused("set network zone private public other").startswith("only one network")


def test_set_network_needs_a_network_that_there_is(site: Site) -> None:
    for part in ["subnet", "netmask", "mtu", "zone", "servedns"]:
        assert site.refused("set network", part) == "must supply at least one network"
        refused = site.refused("set network", part, "private")
        assert refused == f'must supply at least one network, besides {part} "private"'
        assert site.refused("set network", part, "nothing", "10.0.0.0").startswith(
            'unknown network "nothing"'
        )


def test_set_network_errors(site: Site) -> None:
    for part, value, message in [
        ("subnet", "10.1.1.0", 'subnet "10.1.1.0" is not valid with netmask 255.255.0.0'),
        ("netmask", "255.0.0.0", 'subnet "10.1.0.0" is not valid with netmask 255.0.0.0'),
        ("mtu", "99", 'mtu "99" must be'),
        ("zone", "example.org", 'the network "public" has the dnszone "example.org" already'),
        ("zone", "-", 'dnszone "-" is not valid'),
        ("servedns", "", '"servedns" must be yes or no'),
    ]:
        assert site.refused("set network", part, "private", value).startswith(message), value


def test_interfaces_remain_inside_their_network(used: Site) -> None:
    outside = 'host compute-0-0 has 10.1.255.254 on the network "private", which is outside '
    assert used.refused("set network subnet private 10.2.0.0").startswith(outside + "10.2.0.0/16")
    assert used.refused("set network netmask private 255.255.255.0").startswith(outside + "10.1.0.0/24")
    assert used.refused("set network subnet % 10.2.0.0").startswith(
        ("host compute-0-0", 'subnet "10.2.0.0"', "the addresses 10.2.0.0/16")
    )


def test_networks_do_not_overlap(site: Site) -> None:
    assert site.refused("add network ib 10.1.4.0 255.255.255.0") == (
        'the addresses 10.1.4.0/24 of the network "ib" overlap those of "private", 10.1.0.0/16'
    )
    site.done("add network ib 10.2.0.0 255.255.0.0")
    assert "overlap those of" in site.refused("set network subnet ib 10.1.0.0")
    site.done("set network subnet ib 10.8.0.0")
    site.done("add network fast 10.9.0.0 255.255.0.0")
    assert "overlap those of" in site.refused("set network netmask ib 255.248.0.0")
    assert "overlap those of" in site.refused("set network subnet ib private 10.3.0.0")
    site.done("set network subnet ib 10.3.0.0")


def test_a_used_network_is_not_removed_and_neither_are_the_others(used: Site) -> None:
    assert used.refused("remove network public private").startswith(
        'cannot remove "private" network. There are nodes still associated with it.'
    )
    assert used.refused("remove network public nothing").startswith('unknown network "nothing"')
    used.done("remove network public")
    assert used.done("list network output-col=network output-header=no").split() == ["private:"]


def test_remove_network_takes_its_routes_along(site: Site) -> None:
    site.change(
        "INSERT INTO global_routes (Network, Netmask, Gateway, Subnet)"
        " SELECT '224.0.0.0', '255.255.255.0', '', ID FROM subnets WHERE name = 'private'"
    )
    site.done("remove network private")
    assert site.database.rows("SELECT * FROM global_routes") == []


def test_dump_network(site: Site) -> None:
    assert site.done("dump network").splitlines()[0] == (
        "/opt/rocks/bin/rocks add network private subnet=10.1.0.0 netmask=255.255.0.0 mtu=1500 dnszone=local"
        " servedns=yes"
    )
