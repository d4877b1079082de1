"""Which address and port reach a host."""

import dataclasses
import itertools

import pytest

from rocks.core.errors import StateError
from rocks.inventory.addresses import choose_address, ssh_port
from rocks.inventory.records import Interface


def interface(
    network: str | None, ip: str | None, device: str = "eth0", name: str | None = None
) -> Interface:
    return Interface("c", device, None, ip, name, network)


def test_the_first_network_then_private_then_any() -> None:
    found = [
        interface("public", "203.0.113.1"),
        interface("Private", "10.1.0.1"),
        interface(None, "10.9.0.1"),
        interface("ib", "10.2.0.1"),
        interface("storage", None),
    ]
    for order in itertools.permutations(found):
        assert choose_address(order, "private") == "10.1.0.1"
        assert choose_address(order, "PUBLIC") == "203.0.113.1"
        assert choose_address(order, "storage") == "10.1.0.1"
        assert choose_address([one for one in order if one.subnet != "Private"], "storage") == "10.2.0.1"


def test_any_address_is_better_than_none() -> None:
    assert choose_address([interface(None, "10.1.0.9")], "private") == "10.1.0.9"
    assert choose_address([], "private") is None


def test_of_one_network_the_first_device_and_never_a_label_or_vlan_of_it() -> None:
    devices = ["eth2", "eth10", "eth2:1", "vlan2"]
    found = [interface("private", f"10.1.0.{number}", device) for number, device in enumerate(devices, 1)]
    for order in itertools.permutations(found):
        assert choose_address(order, "private") == "10.1.0.1"


@pytest.mark.parametrize(
    "other",
    [
        interface("private", "10.1.0.9", "ipmi"),
        interface("private", "10.1.0.9", "ipmi", "c"),
        dataclasses.replace(interface("private", "10.1.0.9", "lan0"), channel="1"),
        interface("private", "10.1.0.9", "ib0", "c-ib"),
    ],
)
def test_a_bmc_and_a_name_of_its_own_never(other: Interface) -> None:
    assert choose_address([other], "private") is None
    assert choose_address([other, interface("ib", "10.2.0.9", "ib0", "C")], "private") == "10.2.0.9"


def test_ports() -> None:
    assert ssh_port("h", {}) == 22
    assert ssh_port("h", {"ssh_port": ""}) == 22
    assert ssh_port("h", {"ssh_port": "2222"}) == 2222


@pytest.mark.parametrize("text", ["0", "65536", "-1", "x", "22 ", "٢٢", "123456"])
def test_what_is_no_port(text: str) -> None:
    with pytest.raises(StateError, match="ssh_port of h is"):
        ssh_port("h", {"ssh_port": text})
