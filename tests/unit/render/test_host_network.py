"""Files of network devices, complete."""

from __future__ import annotations

import pytest

from rocks.cluster.host_network import HostDevice
from rocks.render.host_network import file_permissions, network_files, obsolete_files

MAC = "52:54:00:00:00:01"
BRIDGED = HostDevice("peth0", MAC, "eth0", "10.1.255.254/16", "10.1.1.1", 9000)
ALONE = HostDevice("eth0", MAC, "", "10.1.255.254/16", "", 1500)
LINK = "[Match]\nPermanentMACAddress=52:54:00:00:00:01\n\n[Link]\nName=%s\nMTUBytes=%s\n"


def test_a_bridge_for_networkd() -> None:
    assert network_files([BRIDGED], "deb") == {
        "/etc/systemd/network/10-peth0.link": LINK % ("peth0", 9000),
        "/etc/systemd/network/10-eth0.netdev": "[NetDev]\nName=eth0\nKind=bridge\nMACAddress=52:54:00:00:00:01\n"
        "MTUBytes=9000\n\n[Bridge]\nSTP=no\n",
        "/etc/systemd/network/10-peth0.network": "[Match]\nName=peth0\n\n[Network]\nBridge=eth0\n"
        "LinkLocalAddressing=no\n",
        "/etc/systemd/network/10-eth0.network": "[Match]\nName=eth0\n\n[Network]\nAddress=10.1.255.254/16\n"
        "LinkLocalAddressing=no\nGateway=10.1.1.1\n",
    }


def test_an_adapter_for_networkd_is_what_the_installer_writes() -> None:
    assert network_files([ALONE], "deb") == {
        "/etc/systemd/network/10-eth0.link": LINK % ("eth0", 1500),
        "/etc/systemd/network/10-eth0.network": "[Match]\nName=eth0\n\n[Network]\nAddress=10.1.255.254/16\n"
        "LinkLocalAddressing=no\n",
    }


def test_a_bridge_for_network_manager_is_for_root_only() -> None:
    files = network_files([BRIDGED], "rpm")
    assert files["/etc/systemd/network/10-peth0.link"] == LINK % ("peth0", 9000)
    bridge = files["/etc/NetworkManager/system-connections/rocks-eth0.nmconnection"]
    port = files["/etc/NetworkManager/system-connections/rocks-peth0.nmconnection"]
    assert "type=bridge\ninterface-name=eth0\n" in bridge
    assert "[ipv4]\nmethod=manual\naddress1=10.1.255.254/16,10.1.1.1\n" in bridge
    assert "interface-name=peth0\nmaster=eth0\nslave-type=bridge\n\n[ethernet]\nmtu=9000\n" in port
    assert len(files) == 3
    assert file_permissions("/etc/NetworkManager/system-connections/rocks-eth0.nmconnection") == "600"
    assert file_permissions("/etc/systemd/network/10-peth0.link") == "644"


@pytest.mark.parametrize("packaging", ["deb", "rpm"])
def test_files_of_the_other_kind_of_device_go(packaging: str) -> None:
    """After a change of the option `novtap` no file of the former device is left to rename the adapter."""
    for before, after in ((BRIDGED, ALONE), (ALONE, BRIDGED)):
        gone = set(obsolete_files([after], packaging))
        assert set(network_files([before], packaging)) - set(network_files([after], packaging)) <= gone
        assert not gone & set(network_files([after], packaging))
