"""Files of network devices, complete."""

import re
import shlex

import pytest

from rocks.network.host_network_files import MARK, file_permissions, network_files, removal_text
from rocks.network.host_network_plan import HostDevice

MAC = "52:54:00:00:00:01"
BRIDGED = HostDevice("peth0", MAC, "eth0", "10.1.255.254/16", "10.1.1.1", 9000)
ALONE = HostDevice("eth0", MAC, "", "10.1.255.254/16", "", 1500)
BRIDGES = "/etc/systemd/system/systemd-networkd.service.d/rocks-bridges.conf"
SOCKET = "/etc/systemd/system/systemd-networkd.socket.d/rocks-bridges.conf"
LINK = MARK + "\n[Match]\nPermanentMACAddress=52:54:00:00:00:01\n\n[Link]\nName=%s\nMTUBytes=%s\n"


def test_a_bridge_for_networkd() -> None:
    assert network_files([BRIDGED], "deb") == {
        "/etc/systemd/network/10-peth0.link": LINK % ("peth0", 9000),
        "/etc/systemd/network/10-eth0.netdev": MARK
        + "\n[NetDev]\nName=eth0\nKind=bridge\nMACAddress=52:54:00:00:00:01\n"
        "MTUBytes=9000\n\n[Bridge]\nSTP=no\n",
        "/etc/systemd/network/10-peth0.network": MARK + "\n[Match]\nName=peth0\n\n[Network]\nBridge=eth0\n"
        "LinkLocalAddressing=no\n",
        "/etc/systemd/network/10-eth0.network": MARK
        + "\n[Match]\nName=eth0\n\n[Network]\nAddress=10.1.255.254/16\n"
        "LinkLocalAddressing=no\nGateway=10.1.1.1\n",
        BRIDGES: MARK
        + "\n[Service]\nExecStartPre=+-/usr/bin/udevadm wait --timeout=180 /sys/class/net/peth0\nTimeoutStartSec=300\n",
        SOCKET: MARK + "\n[Unit]\nConditionPathExists=!/sys/class/net\n",
    }


def test_networkd_waits_until_every_adapter_below_a_bridge_has_its_name() -> None:
    """It makes a bridge when it starts, and not while the adapter has the bridge's name."""
    other = HostDevice("peth1", "52:54:00:00:00:02", "eth1", "", "", 1500)
    files = network_files([BRIDGED, other, ALONE], "deb")
    assert " /sys/class/net/peth0 /sys/class/net/peth1\n" in files[BRIDGES]


def test_the_wait_for_adapters_ends_before_the_service_has_taken_too_long_to_start() -> None:
    text = network_files([BRIDGED], "deb")[BRIDGES]
    wait, limit = (int(re.search(name + r"=(\d+)", text)[1]) for name in ("--timeout", "TimeoutStartSec"))  # type: ignore[index]
    assert 120 <= wait < limit - 60


def test_an_adapter_for_networkd_is_what_the_installer_writes() -> None:
    assert network_files([ALONE], "deb") == {
        "/etc/systemd/network/10-eth0.link": LINK % ("eth0", 1500),
        "/etc/systemd/network/10-eth0.network": MARK
        + "\n[Match]\nName=eth0\n\n[Network]\nAddress=10.1.255.254/16\n"
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
def test_the_call_that_removes_files_keeps_those_of_the_present_devices(packaging: str) -> None:
    arguments = shlex.split(removal_text([BRIDGED], packaging))
    assert arguments == ["rocks_marked_files_absent", MARK, *network_files([BRIDGED], packaging)]
