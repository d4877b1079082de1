"""Which address and port reach a host."""

import pytest

from rocks.core.errors import StateError
from rocks.inventory.addresses import choose_address, ssh_port


def test_the_primary_network_comes_first() -> None:
    addresses = [("public", "203.0.113.1"), ("Private", "10.1.0.1"), ("private", "10.1.0.2")]
    assert choose_address(addresses, "private") == "10.1.0.1"
    assert choose_address(addresses, "PUBLIC") == "203.0.113.1"


def test_any_address_is_better_than_none() -> None:
    assert choose_address([("", "10.1.0.9")], "private") == "10.1.0.9"
    assert choose_address([], "private") is None


def test_ports() -> None:
    assert ssh_port("h", {}) == 22
    assert ssh_port("h", {"ssh_port": ""}) == 22
    assert ssh_port("h", {"ssh_port": "2222"}) == 2222


@pytest.mark.parametrize("text", ["0", "65536", "-1", "x", "22 ", "٢٢", "123456"])
def test_what_is_no_port(text: str) -> None:
    with pytest.raises(StateError, match="ssh_port of h is"):
        ssh_port("h", {"ssh_port": text})
