"""MAC addresses, and IPv4 addresses in their networks."""

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.core.errors import IncoherentError, UserError
from rocks.network.interface_rules import (
    Subnet,
    check_ip,
    check_ip_in,
    check_mac,
    looks_like_mac,
    mac_pattern,
    read_network,
    read_vlan,
)

PRIVATE = Subnet("private", "10.1.0.0", "255.255.0.0")
INFINIBAND = "80:00:00:48:fe:80:00:00:00:00:00:00:f4:52:14:03:00:7b:cb:a1"


@pytest.mark.parametrize(
    "mac",
    [
        *("00:11:22:33:44:55", "AA:bb:Cc:00:01:02", INFINIBAND, "f4:52:14:03:00:7b:cb:a1"),
        *("02:11:22:33:44:56", "fe:ff:ff:ff:ff:ff", "00:00:00:00:00:01", "01:00:00:00:00:00:00:00"),
    ],
)
def test_hardware_addresses(mac: str) -> None:
    check_mac(mac)
    assert looks_like_mac(mac)
    assert re.fullmatch(mac_pattern(mac), mac, re.IGNORECASE)


@pytest.mark.parametrize(
    "text",
    [
        *("", "00:11:22:33:44", "00:11:22:33:44:55:66", "00:11:22:33:44:5g", "00:11:22:33:44:055"),
        *("001122334455", ":::::", "01:11:22:33:44:56", "33:33:00:00:00:01", "ff:ff:ff:ff:ff:ff"),
        *("00:00:00:00:00:00", "00:00:00:00:00:00:00:00", ":".join(["00"] * 20)),
    ],
)
def test_what_is_no_hardware_address(text: str) -> None:
    with pytest.raises(UserError, match=f"The mac address {text} is invalid"):
        check_mac(text)


@given(st.text())
def test_any_text_is_an_address_or_refused_in_one_line(text: str) -> None:
    for check in (check_mac, check_ip):
        try:
            check(text)
        except UserError as error:
            assert str(error).isprintable()
        else:
            assert re.fullmatch("[0-9A-Fa-f:.]+", text)


@given(st.lists(st.integers(0, 255), min_size=6, max_size=6), st.data())
def test_a_pattern_matches_every_way_to_write_the_address(octets: list[int], data: st.DataObject) -> None:
    spellings = [[f"{octet:x}", f"{octet:02x}", f"{octet:02X}"] for octet in octets]
    first, second = (":".join(data.draw(st.sampled_from(ways)) for ways in spellings) for _ in range(2))
    assert re.match(mac_pattern(first), second, re.IGNORECASE)
    other = ":".join(f"{octet:02x}" for octet in [octets[0] ^ 1, *octets[1:]])
    assert not re.match(mac_pattern(first), other, re.IGNORECASE)


def test_a_device_does_not_look_like_an_address() -> None:
    assert not looks_like_mac("eth0:1")


@pytest.mark.parametrize(
    "ip",
    [
        *("0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "1.2.3", "1.2.3.256", "1.2.3.04"),
        *("010.1.2.3", "::1", "fe80::1", " 1.2.3.4"),
    ],
)
def test_addresses_that_no_interface_has(ip: str) -> None:
    with pytest.raises(UserError, match="The ip address .* is invalid"):
        check_ip(ip)


@given(st.integers(0, 2**32 - 1))
def test_an_address_in_a_network(number: int) -> None:
    ip = ipaddress.IPv4Address(number)
    inside = ip in ipaddress.IPv4Network("10.1.0.0/16") and str(ip) not in ("10.1.0.0", "10.1.255.255")
    try:
        check_ip_in(str(ip), PRIVATE)
    except UserError:
        assert not inside
    else:
        assert inside


@pytest.mark.parametrize(
    ("ip", "message"),
    [
        ("10.2.0.1", 'not in the network "private", which is 10.1.0.0/16'),
        ("10.1.0.0", 'is the network address of "private"'),
        ("10.1.255.255", 'is the broadcast address of "private"'),
    ],
)
def test_addresses_outside(ip: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_ip_in(ip, PRIVATE)


def test_a_point_to_point_network_uses_both_addresses() -> None:
    for ip in ("192.0.2.4", "192.0.2.5"):
        check_ip_in(ip, Subnet("link", "192.0.2.4", "255.255.255.254"))


@pytest.mark.parametrize(
    ("text", "vlan"), [("0", None), ("null", None), ("NULL", None), ("1", 1), ("4094", 4094)]
)
def test_vlans(text: str, vlan: int | None) -> None:
    assert read_vlan(text) == vlan


@pytest.mark.parametrize("text", ["4095", "-1", "two", ""])
def test_what_is_no_vlan(text: str) -> None:
    with pytest.raises(UserError, match=f'vlan "{text}" must be an integer'):
        read_vlan(text)


@pytest.mark.parametrize(("subnet", "netmask"), [("", ""), ("ten", "255.0.0.0"), ("10.0.0.0", "255.0.255.0")])
def test_a_row_that_is_no_network(subnet: str, netmask: str) -> None:
    with pytest.raises(IncoherentError, match='the network "odd" has subnet'):
        read_network(Subnet("odd", subnet, netmask))
