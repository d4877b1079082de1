"""Names of services are looked up on the frontend."""

from __future__ import annotations

import pytest

from rocks.network.firewall.changes import port_of_service


@pytest.mark.parametrize("name", ["no such service", "x" * 5000, "a\0b", "\ud800"])
def test_an_unknown_service_has_no_port(name: str) -> None:
    assert port_of_service(name, "tcp") is None
