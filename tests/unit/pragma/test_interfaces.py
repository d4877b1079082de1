"""Addresses of further interfaces: inside the netmask, each once, never those of network, broadcast and others."""

from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest

from pragma._shared.interfaces import choose_addresses, read_interfaces
from rocks.core.errors import StateError, UserError
from rocks.library.seed_documents import plan_addresses


@pytest.mark.parametrize("network", ["10.1.0.0/24", "10.1.0.0/16", "10.1.4.0/22"])
def test_addresses_come_from_the_top_and_leave_out_those_in_use(network):
    """Scenario 8 of further interfaces; the addresses of computes follow below."""
    of = IPv4Network(network)
    top = int(of.broadcast_address)
    used = [IPv4Address(top - 2), of.network_address + 1]
    found = choose_addresses(of, None, used, 200)
    assert found[:2] == [IPv4Address(top - 1), IPv4Address(top - 3)]
    assert len(set(found)) == 200
    assert not {of.network_address, of.broadcast_address, *used} & set(found)
    assert all(one in of for one in found)


def test_the_last_address_is_used_and_the_next_refused():
    of = IPv4Network("10.1.0.0/29")
    assert len(choose_addresses(of, None, [], 6)) == 6
    with pytest.raises(StateError, match="no 7 addresses"):
        choose_addresses(of, None, [], 7)


def test_after_a_given_address_follow_the_next_free_ones():
    of = IPv4Network("10.1.0.0/29")
    found = choose_addresses(of, IPv4Interface("10.1.0.3/29"), [IPv4Address("10.1.0.4")], 2)
    assert list(map(str, found)) == ["10.1.0.3", "10.1.0.5"]


def test_a_network_in_the_place_of_an_address_leaves_the_choice_to_the_site():
    """As the second generation's `add-iface=NET:CIDR`; its own address is no machine's."""
    of = IPv4Network("10.1.0.0/29")
    (one,) = read_interfaces("ent:10.1.0.0/29", "ent:eth2")
    assert choose_addresses(of, one.address, [], 2) == choose_addresses(of, None, [], 2)
    with pytest.raises(UserError, match="the network is 10.1.0.0/29"):
        choose_addresses(of, IPv4Interface("10.1.0.0/28"), [], 2)


def test_sites_that_share_a_network_choose_from_their_own_parts():
    of = IPv4Network("10.102.0.0/24")
    (one,) = read_interfaces("ent", "ent:eth2:10.102.0.0/29 other:eth3")
    assert (one.device, one.part) == ("eth2", IPv4Network("10.102.0.0/29"))
    used = [IPv4Address("10.102.0.6"), IPv4Address("10.102.0.254")]
    assert list(map(str, choose_addresses(of, None, used, 2, one.part))) == ["10.102.0.7", "10.102.0.5"]
    upper = IPv4Network("10.102.0.248/29")
    assert list(map(str, choose_addresses(of, None, used, 1, upper))) == ["10.102.0.253"]
    with pytest.raises(StateError, match="the network 10.102.0.0/29 has no 7 addresses"):
        choose_addresses(of, None, used, 7, one.part)
    given = IPv4Interface("10.102.0.5/24")
    assert list(map(str, choose_addresses(of, given, used, 2, one.part))) == ["10.102.0.5", "10.102.0.7"]
    with pytest.raises(StateError, match="the network 10.102.0.0/29 has no 3 addresses"):
        choose_addresses(of, given, used, 3, one.part)
    with pytest.raises(UserError, match="10.102.0.200/24, and this site's part is 10.102.0.0/29"):
        choose_addresses(of, IPv4Interface("10.102.0.200/24"), used, 1, one.part)
    with pytest.raises(UserError, match="is no network of the attribute"):
        read_interfaces("ent", "ent::10.102.0.0/29")
    with pytest.raises(StateError, match=r"'10.102.0.9/29', which is no part of a network"):
        read_interfaces("ent", "ent:eth2:10.102.0.9/29")


@pytest.mark.slow
@pytest.mark.parametrize("network", ["10.1.0.0/24", "10.1.0.0/16", "10.1.4.0/22"])
def test_addresses_of_computes_are_inside_the_netmask(network):
    """Scenario 8: the frontend is the gateway of its computes."""
    of = IPv4Network(network)
    frontend = IPv4Interface(f"{of.network_address + 1}/{of.prefixlen}")
    most = of.num_addresses - 3
    found = {IPv4Address(one) for one in plan_addresses(frontend, most)}
    assert len(found) == most and all(one in of for one in found)
    assert not {of.network_address, of.broadcast_address, frontend.ip} & found
    with pytest.raises(StateError, match="has no addresses"):
        plan_addresses(frontend, most + 1)
