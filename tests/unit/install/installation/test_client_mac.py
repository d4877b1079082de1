"""The MAC address of a client of the installation service, by the kernel's tables."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from rocks.core.errors import HostError
from rocks.install.installation import service as installation_service
from rocks.install.installation.service import mac_of_client

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
