"""The lines of hosts for dnsmasq."""

import pytest

from rocks.install.boot.dnsmasq import ServedHost, dnsmasq_hosts


@pytest.mark.parametrize("name", ["ignore", "infinite"])
def test_a_host_whose_name_dnsmasq_takes_for_its_own_gets_its_address(name: str) -> None:
    """Tried with dnsmasq 2.90: in a line `MAC,ADDRESS,ignore`, it answers the host no more."""
    assert (
        dnsmasq_hosts([ServedHost(name, "52:54:00:00:00:01", "10.1.2.254")])
        == "52:54:00:00:00:01,10.1.2.254\n"
    )
