"""Who may be installed: rules, states, and the MAC address of the client."""

import socket
import sys
from pathlib import Path

import pytest

from rocks.core.errors import HostError, StateError, UserError
from rocks.install.installation import service as installation_service
from rocks.install.installation.service import mac_of_client
from rocks.install.installation.states import (
    LONGEST_REPORT,
    UNFINISHED,
    InstallingHost,
    State,
    check_is_to_be_installed,
    check_port_of_root,
    identify,
    is_attached,
    neighbour_mac,
    next_state,
    read_report,
    stated_macs,
)

MAC, OTHER = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
HOST = InstallingHost("c-0", (MAC,), "install")
Client = tuple[str, str, tuple[str, ...]]


@pytest.mark.parametrize(
    "client",
    [
        ("10.1.1.2", MAC, ()),
        ("10.1.1.2", "", (OTHER, MAC.upper())),
        ("10.1.1.2", MAC, (MAC,)),
    ],
)
def test_a_client_with_the_address_and_the_mac_address_of_a_host_is_that_host(client: Client) -> None:
    assert identify(*client, HOST) == HOST


@pytest.mark.parametrize(
    ("client", "host", "message"),
    [
        (("10.1.1.2", MAC, ()), None, "no host has the address 10.1.1.2 on the network private"),
        (("10.1.1.2", OTHER, ()), HOST, "belongs to a host with another MAC address than " + OTHER),
        (("10.1.1.2", MAC, (OTHER,)), HOST, "another MAC address"),
        (("10.1.1.2", OTHER, (MAC,)), HOST, "another MAC address"),
        (("10.1.1.2", "", ()), HOST, "add inst.ks.sendmac to the arguments"),
        (("10.1.1.2", MAC, ()), HOST._replace(macs=()), "has no MAC address in the database"),
    ],
)
def test_another_client_is_refused(client: Client, host: InstallingHost | None, message: str) -> None:
    with pytest.raises(UserError) as caught:
        identify(*client, host)
    assert message in str(caught.value)
    assert MAC not in str(caught.value) or MAC in (client[1], *client[2])


def test_a_client_may_be_any_adapter_of_a_bond() -> None:
    bonded = HOST._replace(macs=(OTHER, MAC))
    assert identify("10.1.1.2", MAC, (), bonded) == bonded
    assert identify("10.1.1.2", OTHER, (OTHER.upper(),), bonded) == bonded
    with pytest.raises(UserError):
        identify("10.1.1.2", "02:00:00:00:00:0c", (), bonded)


def test_an_unknown_client_learns_no_host_name() -> None:
    with pytest.raises(UserError) as caught:
        identify("10.1.1.2", OTHER, (), HOST)
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


def test_only_roots_ports_are_taken() -> None:
    for port in (1, 512, 1023):
        check_port_of_root(port)
    for port in (0, -1, 1024, 65535):
        with pytest.raises(
            UserError, match=f"comes from port {port}, .* below 1024: curl --local-port 512-1023"
        ):
            check_port_of_root(port)


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


_OF_INSTALLER = ("started", "partitioning", "unpacking", "configuring", "host-key", "boot-loader", "failed")


@pytest.mark.parametrize("word", _OF_INSTALLER)
def test_the_installer_reports_until_its_installation_has_ended(word: str) -> None:
    report = read_report(f"{word} some detail".encode())
    for state in State:
        if state in UNFINISHED:
            expected = State.FAILED if word == "failed" else State.INSTALLING
            assert next_state(state, report) == expected
        else:
            with pytest.raises(UserError, match=f'"{word}" does not fit: the installation has ended'):
                next_state(state, report)


def test_installed_may_be_repeated_and_nothing_falls_behind_it() -> None:
    installed = read_report(b"installed")
    for state in (*UNFINISHED, State.INSTALLED):
        assert next_state(state, installed) == State.INSTALLED
    for state in (State.FIRST_BOOT, State.FIRST_BOOT_FAILED, State.CONFIGURED):
        with pytest.raises(UserError, match=f'in the state "{state.value}"'):
            next_state(state, installed)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("first-boot", State.FIRST_BOOT),
        ("first-boot-failed", State.FIRST_BOOT_FAILED),
        ("configured", State.CONFIGURED),
    ],
)
def test_the_first_boot_reports_until_the_host_is_configured(word: str, expected: State) -> None:
    report = read_report(word.encode())
    for state in State:
        if state is not State.CONFIGURED or word == "configured":
            assert next_state(state, report) == expected
        else:
            with pytest.raises(UserError, match='in the state "configured"'):
                next_state(state, report)


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"reboot", b"started\nnow", b"started \xc3\xa4", b"started \x1b[2J", b"installed\0"]
    + [b"started " + b"x" * LONGEST_REPORT],
)
def test_what_is_no_report_is_rejected(body: bytes) -> None:
    with pytest.raises(UserError, match="report"):
        read_report(body)


def test_a_report_is_a_word_and_a_detail() -> None:
    report = read_report(b"failed the disk /dev/vda (8 GB) has data: disk ext4 ")
    assert report == ("failed", "the disk /dev/vda (8 GB) has data: disk ext4")
    assert report.text == "failed the disk /dev/vda (8 GB) has data: disk ext4"


MAC = "02:00:00:00:00:01"
ROUTE = (
    "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
    "eth1 {:08X} 00000000 0001 0 0 0 {:08X} 0 0 0\n"
)
ARP = (
    "IP address HW type Flags HW address Mask Device\n"
    f"10.1.1.2 0x1 0x2 {MAC} * eth1\n"
    f"10.1.1.3 0x1 0x0 {MAC} * eth1\n"
)


@pytest.fixture(autouse=True)
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """10.1.0.0/16 is attached."""
    numbers = [int.from_bytes(socket.inet_aton(one), sys.byteorder) for one in ("10.1.0.0", "255.255.0.0")]
    (tmp_path / "arp").write_text(ARP)
    (tmp_path / "route").write_text(ROUTE.format(*numbers))
    monkeypatch.setattr(installation_service, "_ARP", tmp_path / "arp")
    monkeypatch.setattr(installation_service, "_ROUTES", tmp_path / "route")
    return tmp_path


def test_a_neighbour_has_the_mac_address_of_the_kernel_and_others_have_none() -> None:
    assert mac_of_client("10.1.1.2") == MAC
    assert mac_of_client("10.2.1.2") == ""


@pytest.mark.parametrize("address", ["10.1.1.3", "10.1.1.4"])
def test_a_neighbour_that_no_longer_answers_arp_gets_nothing(address: str) -> None:
    """Only the MAC address that it states itself would count."""
    with pytest.raises(HostError, match=f"the MAC address of {address} is not known now"):
        mac_of_client(address)


def test_without_the_tables_nobody_gets_anything(tables: Path) -> None:
    (tables / "arp").unlink()
    with pytest.raises(HostError, match="cannot be read"):
        mac_of_client("10.2.1.2")
    (tables / "arp").write_text(ARP)
    (tables / "route").write_text(ROUTE.format(1, 1).replace("00000000", "much"))
    assert mac_of_client("10.2.1.2") == ""
    (tables / "route").write_text(ROUTE.format(1, 1).replace("0001", "much"))
    with pytest.raises(HostError, match="cannot be read"):
        mac_of_client("1.2.3.4")
