"""Which machine gets the files for an installation."""

import socket
import sys

import pytest

from rocks.core.errors import StateError, UserError
from rocks.install.installation.rules import (
    Client,
    InstallingHost,
    check_is_to_be_installed,
    identify,
    is_attached,
    neighbour_mac,
    stated_macs,
)

MAC, OTHER = "02:00:00:00:00:01", "02:00:00:00:00:02"
HOST = InstallingHost("c-0", MAC, "install")


@pytest.mark.parametrize(
    "client",
    [
        Client("10.1.1.2", MAC, ()),
        Client("10.1.1.2", "", (OTHER, MAC.upper())),
        Client("10.1.1.2", MAC, (MAC,)),
    ],
)
def test_a_client_with_the_address_and_the_mac_address_of_a_host_is_that_host(client: Client) -> None:
    assert identify(client, HOST) == HOST


@pytest.mark.parametrize(
    ("client", "host", "message"),
    [
        (Client("10.1.1.2", MAC, ()), None, "no host has the address 10.1.1.2 on the network private"),
        (Client("10.1.1.2", OTHER, ()), HOST, "belongs to a host with another MAC address than " + OTHER),
        (Client("10.1.1.2", MAC, (OTHER,)), HOST, "another MAC address"),
        (Client("10.1.1.2", OTHER, (MAC,)), HOST, "another MAC address"),
        (Client("10.1.1.2", "", ()), HOST, "add inst.ks.sendmac to the arguments"),
        (Client("10.1.1.2", MAC, ()), HOST._replace(mac=None), "has no MAC address in the database"),
    ],
)
def test_another_client_is_refused(client: Client, host: InstallingHost | None, message: str) -> None:
    with pytest.raises(UserError) as caught:
        identify(client, host)
    assert message in str(caught.value)
    assert MAC not in str(caught.value) or MAC in (client.neighbour_mac, *client.stated_macs)


def test_an_unknown_client_learns_no_host_name() -> None:
    with pytest.raises(UserError) as caught:
        identify(Client("10.1.1.2", OTHER, ()), HOST)
    assert "c-0" not in str(caught.value)


@pytest.mark.parametrize("next_boot", ["os", None])
def test_a_host_with_another_next_boot_is_not_to_be_installed(next_boot: str | None) -> None:
    with pytest.raises(StateError) as caught:
        check_is_to_be_installed(HOST._replace(next_boot=next_boot))
    assert str(caught.value) == (
        "host c-0 is not to be installed, its next boot is os; on the frontend: rocks set host boot c-0 action=install"
    )


def test_headers_of_installers_state_mac_addresses() -> None:
    headers = [
        ("X-RHN-Provisioning-MAC-0", f"eth0 {MAC}"),
        ("x-rhn-provisioning-mac-1", OTHER),
        ("X-RHN-Provisioning-MAC-2", ""),
        ("X-RHN-Provisioning-MAC-3", "a b c"),
        ("User-Agent", "anaconda"),
    ]
    assert stated_macs(headers) == (MAC, OTHER)


def test_only_complete_neighbours_count() -> None:
    table = (
        "IP address       HW type     Flags       HW address            Mask     Device\n"
        f"10.1.1.2         0x1         0x2         {MAC}     *        eth1\n"
        "10.1.1.3         0x1         0x0         00:00:00:00:00:00     *        eth1\n"
        "10.1.1.23\n"
    )
    assert [neighbour_mac(table, f"10.1.1.{last}") for last in (2, 3, 4, 23)] == [MAC, "", "", ""]


def _route(network: str, mask: str, flags: int, metric: int = 0) -> str:
    numbers = [int.from_bytes(socket.inet_aton(one), sys.byteorder) for one in (network, mask)]
    return f"eth1\t{numbers[0]:08X}\t00000000\t{flags:04X}\t0\t0\t{metric}\t{numbers[1]:08X}\t0\t0\t0\n"


def test_an_attached_network_has_the_longest_route_and_no_gateway() -> None:
    table = (
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        + _route("0.0.0.0", "0.0.0.0", 0x1)
        + _route("10.1.0.0", "255.255.0.0", 0x1)
        + _route("10.1.2.0", "255.255.255.0", 0x3)
        + _route("10.1.2.9", "255.255.255.255", 0x5)
        + _route("10.1.3.0", "255.255.255.0", 0x201)
        + _route("10.1.4.0", "255.255.255.0", 0x3, 100)
        + _route("10.1.4.0", "255.255.255.0", 0x1, 50)
    )
    expected = {
        "10.1.1.2": True,
        "10.1.2.2": False,
        "10.1.2.9": True,
        "10.1.3.2": False,
        "10.1.4.2": True,
        "10.2.1.1": False,
        "127.0.0.2": False,
    }
    assert {address: is_attached(table, address) for address in expected} == expected
    assert not is_attached("", "10.1.1.2")
