"""Rules of networks, their addresses, routes and VLANs."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.core.errors import StateError, UserError
from rocks.core.process import run_checked
from rocks.fleet.wire.links import LinkSpec
from rocks.inventory.records import Network
from rocks.network import guest_connections
from rocks.network.address_plan import next_addresses
from rocks.network.guest_connections import vlan_device, vlan_lines
from rocks.network.host import links
from rocks.network.interface_rules import Subnet
from rocks.network.network_rules import (
    check_interfaces_fit,
    check_network,
    check_zone,
    read_addresses,
    read_mtu,
)
from rocks.network.vlan_pool import plan_vlan, read_pool

PRIVATE = Network("private", "10.1.0.0", "255.255.0.0", 1500, "local", True)


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_every_network_with_host_addresses_is_read(number: int, prefix: int) -> None:
    network = ipaddress.IPv4Network((number, prefix), strict=False)
    assert read_addresses(str(network.network_address), str(network.netmask)) == network


@given(st.integers(0, 2**32 - 1))
def test_a_netmask_is_one_row_of_ones(number: int) -> None:
    mask = str(ipaddress.IPv4Address(number))
    contiguous = f"{number:032b}".rstrip("0").count("0") == 0
    has_host_bits = 1 <= f"{number:032b}".count("1") <= 30
    if contiguous and has_host_bits:
        assert str(read_addresses("0.0.0.0", mask).netmask) == mask
    else:
        with pytest.raises(UserError, match=f'^netmask "{mask}" is not valid: '):
            read_addresses("0.0.0.0", mask)


@pytest.mark.parametrize(
    "text", ["", "10.1", "10.1.0.256", "10.01.0.0", " 10.1.0.0", "10.1.0.0/16", "::1", "x'\n"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UserError, match=r'^subnet ".*" is not valid: it must be IPv4'):
        read_addresses(text, "255.255.0.0")
    with pytest.raises(UserError, match=r'^netmask ".*" is not valid: it must be IPv4'):
        read_addresses("10.1.0.0", text)


def test_a_host_address_is_no_subnet() -> None:
    with pytest.raises(UserError, match=r'^subnet "10.1.0.5" is not valid with netmask .*: .* is 10.1.0.0$'):
        read_addresses("10.1.0.5", "255.255.0.0")


@pytest.mark.parametrize(("text", "size"), [("576", 576), ("1500", 1500), ("65535", 65535)])
def test_mtu(text: str, size: int) -> None:
    assert read_mtu(text) == size


@pytest.mark.parametrize("text", ["575", "99", "65536", "-1500", "", "1500.0", "1k", "１５００", "9" * 30])
def test_what_is_no_mtu(text: str) -> None:
    with pytest.raises(UserError, match=r'^mtu ".*" must be an integer from 576 to 65535$'):
        read_mtu(text)


@pytest.mark.parametrize("zone", ["local", "example.org", "a-b.c_d", "x" * 63, "0"])
def test_zones(zone: str) -> None:
    check_zone(zone)


@pytest.mark.parametrize(
    "zone", ["", ".", "a..b", "a.", "-a", "a-", "a b", "a/b", "é", "a\n", "x" * 64, ".".join(["abc"] * 17)]
)
def test_what_is_no_zone(zone: str) -> None:
    with pytest.raises(UserError, match=r'^dnszone ".*" is not valid: '):
        check_zone(zone)


def test_a_whole_network_is_checked() -> None:
    check_network(PRIVATE)
    with pytest.raises(UserError, match="^network"):
        check_network(Network("a b", "10.1.0.0", "255.255.0.0", 1500, "local", True))
    with pytest.raises(UserError, match="^subnet"):
        check_network(Network("a", "10.1.0.1", "255.255.0.0", 1500, "local", True))
    with pytest.raises(UserError, match="^dnszone"):
        check_network(Network("a", "10.1.0.0", "255.255.0.0", 1500, "lo cal", True))


def test_interfaces_must_lie_within() -> None:
    check_interfaces_fit(PRIVATE, [("a", "10.1.0.1"), ("b", "10.1.255.254"), ("c", "not an address")])
    for outside in ("10.2.0.1", "10.1.0.0", "10.1.255.255"):
        with pytest.raises(
            UserError, match=f'^host b has {outside} on the network "private", which is outside'
        ):
            check_interfaces_fit(PRIVATE, [("a", "10.1.0.1"), ("b", outside)])


OF_ADDRESSES = Subnet("private", "10.1.0.0", "255.255.0.0")
TINY = Subnet("tiny", "192.0.2.0", "255.255.255.240")
HOSTS = [str(ip) for ip in ipaddress.IPv4Network("192.0.2.0/28").hosts()]


def test_counts_down_from_the_broadcast_address() -> None:
    assert next_addresses(OF_ADDRESSES, []) == ["10.1.255.254"]
    assert next_addresses(OF_ADDRESSES, ["10.1.255.253", "10.2.255.254", "nonsense", ""], 2) == [
        "10.1.255.254",
        "10.1.255.252",
    ]


def test_counts_up_from_a_base() -> None:
    assert next_addresses(OF_ADDRESSES, ["10.1.0.7"], 2, 1, "10.1.0.7") == ["10.1.0.8", "10.1.0.9"]
    assert next_addresses(OF_ADDRESSES, [], 1, 1) == ["10.1.0.1"]


@given(st.sets(st.sampled_from(HOSTS)), st.integers(1, 16), st.sampled_from([1, -1]))
def test_exactly_the_free_ones_are_found(used: set[str], count: int, increment: int) -> None:
    free = [ip for ip in HOSTS[::increment] if ip not in used]
    if count > len(free):
        with pytest.raises(StateError, match=f'"tiny", 192.0.2.0/28, has only {len(free)} of {count}'):
            next_addresses(TINY, used, count, increment)
    else:
        assert next_addresses(TINY, used, count, increment) == free[:count]


def test_a_base_outside_is_refused() -> None:
    with pytest.raises(UserError, match="10.2.0.1 is not in the network"):
        next_addresses(OF_ADDRESSES, [], base="10.2.0.1")


def test_a_vlan_device() -> None:
    (line,) = vlan_lines([LinkSpec("eth0.7", "vlan", "eth0", 7, 9000)])
    assert line.startswith(
        "[ -e /sys/class/net/eth0.7 ] || { ip link add link eth0 name eth0.7 type vlan id 7 && "
        "echo 1 >/proc/sys/net/ipv6/conf/eth0.7/disable_ipv6; "
    )
    assert line.endswith("; ip link set eth0.7 mtu 9000 arp off alias rocks:7 up; }")


def test_a_long_name_is_stated() -> None:
    device = vlan_device("enp129s0f0np0", 100)
    (line,) = vlan_lines([LinkSpec(device, "vlan", "enp129s0f0np0", 100)])
    assert len(device) <= 15 and device.startswith("v100-")
    assert line.endswith("; }  # enp129s0f0np0.100")


def test_a_bridge_of_the_hosts_own() -> None:
    (line,) = vlan_lines([LinkSpec("p.7", "local_bridge", None, 7)])
    assert "ip link add p.7 type bridge && " in line


def test_the_line_is_valid_for_any_name() -> None:
    (line,) = vlan_lines([LinkSpec("a;b.7", "vlan", "a;b", 7)])
    run_checked(["/bin/sh", "-n"], deadline_seconds=10, standard_input=line.encode())
    assert "a;b" not in line.replace("'a;b.7'", "").replace("'a;b'", "")


def test_the_lines_silence_the_host_as_the_agent_does() -> None:
    assert [(family, name, str(value)) for family, name, value in guest_connections._SILENT] == list(
        links._ISOLATION_SYSCTLS
    )


@pytest.mark.parametrize(
    ("pool", "expected", "used", "vlan"),
    [
        ("", None, [], 2),
        ("", None, [2, 3, 5], 4),
        ("", 7, [2], 7),
        ("100-102", None, [2, 100], 101),
        ("300,100-102", None, [], 300),
        ("300, 100-102", None, [300, 100], 101),
        ("100-102 4094", 4094, [], 4094),
        ("7", None, [], 7),
    ],
)
def test_the_first_free_one_of_the_pool(pool: str, expected: int | None, used: list[int], vlan: int) -> None:
    assert plan_vlan(expected, used, read_pool(pool)) == vlan


def test_one_that_cannot_be_had() -> None:
    with pytest.raises(UserError, match=r"Vlan ID \(3\) is in use"):
        plan_vlan(3, [2, 3], read_pool(""))
    with pytest.raises(
        UserError, match=r"Vlan ID \(99\) is outside the pool 100-199,300 \(attribute vm_vlan_pool\)"
    ):
        plan_vlan(99, [], read_pool("100-199,300"))


def test_exhaustion_names_the_pool() -> None:
    with pytest.raises(StateError, match=r"the pool 100-101,300 \(attribute vm_vlan_pool\) is exhausted"):
        plan_vlan(None, [100, 101, 300], read_pool("100-101,300"))
    with pytest.raises(StateError, match="the pool 2-4094"):
        plan_vlan(None, range(2, 4095), read_pool(""))


@pytest.mark.parametrize(
    "text", ["x", "0", "4095", "9-3", "1-", "-5", "5-6-7", "1.5", "²", "10000", "1-4095", "100..199"]
)
def test_what_is_no_pool(text: str) -> None:
    with pytest.raises(StateError, match="it must be like 100-199,300"):
        read_pool(text)
