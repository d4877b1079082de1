"""The network of a host: its devices, and the files that make them."""

import re
import shlex
from dataclasses import replace

import pytest

from rocks.core.errors import UserError
from rocks.network.host_network_files import MARK, file_permissions, network_files, removal_text
from rocks.network.host_network_plan import HostDevice, plan_devices
from tests.unit.machines import PRIVATE, PUBLIC, container, interface

MAC, OTHER = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
ETH0 = interface("eth0", mac=MAC, ip="10.1.255.254", **PRIVATE)


def test_a_device_of_a_host_of_machines_is_a_bridge_over_its_adapter() -> None:
    (device,) = plan_devices(container(interfaces=[ETH0]))
    assert device == HostDevice("peth0", MAC, "eth0", "10.1.255.254/16", "", 1500)
    assert device.name == "eth0"


def test_with_novtap_and_on_other_hosts_the_adapter_has_the_name() -> None:
    alone = HostDevice("eth0", MAC, "", "10.1.255.254/16", "", 1500)
    assert plan_devices(container(interfaces=[replace(ETH0, options="novtap")])) == (alone,)
    assert plan_devices(container(interfaces=[ETH0], kvm="no")) == (alone,)


def test_the_gateway_belongs_to_the_first_device_with_an_address() -> None:
    eth1 = interface("eth1", mac=OTHER, ip="203.0.113.9", **PUBLIC)
    devices = plan_devices(container(interfaces=[eth1, ETH0], kvm="no", Kickstart_PrivateGateway="10.1.1.1"))
    assert [(one.name, one.gateway) for one in devices] == [("eth0", "10.1.1.1"), ("eth1", "")]
    own = plan_devices(container(interfaces=[ETH0], Kickstart_PrivateGateway="10.1.255.254"))
    assert own[0].gateway == "", "a host is not its own gateway"


def test_a_device_without_an_address_is_there_and_others_are_the_operators() -> None:
    found = plan_devices(
        container(
            interfaces=[
                interface("eth1", mac=OTHER, **PUBLIC),
                interface("eth2", mac=None, **PUBLIC),
                interface("vlan5", mac=MAC, vlan=5, **PRIVATE),
                interface("eth3", mac=MAC, module="ovs-bridge", **PUBLIC),
                interface("ib0", mac=":".join(["80"] * 20), **PUBLIC),
            ]
        )
    )
    assert [(one.name, one.address) for one in found] == [("eth1", "")]
    assert plan_devices(container(interfaces=[interface("eth0", mac=None, **PRIVATE)])) == ()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"device": "eth0; reboot"}, "is not a valid name"),
        ({"device": "eth0\nName=x"}, "is not a valid name"),
        ({"device": "e" * 15}, "is not a valid name"),
        ({"mac": "52:54:00:00:00:$("}, "MAC address"),
        ({"ip": "10.1.1"}, "not valid together"),
        ({"netmask": "255.0.255.0"}, "not valid together"),
        ({"netmask": None}, "not valid together"),
        ({"mtu_bytes": 9}, "has the MTU 9"),
    ],
)
def test_an_invalid_record_is_an_error_that_names_the_command(
    changed: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match="rocks set") as caught:
        plan_devices(container(interfaces=[replace(ETH0, **changed)]))  # type: ignore[arg-type]
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("second", "what"),
    [
        (interface("eth1", mac=MAC.upper(), **PUBLIC), "MAC address"),
        (interface("peth0", mac=OTHER, options="novtap", **PUBLIC), "name peth0"),
    ],
)
def test_two_devices_do_not_share_a_name_or_an_address(second, what: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match=what):
        plan_devices(container(interfaces=[ETH0, second]))


def test_an_invalid_gateway_is_an_error() -> None:
    with pytest.raises(UserError, match="Kickstart_PrivateGateway"):
        plan_devices(container(interfaces=[ETH0], Kickstart_PrivateGateway="10.1.1.1\nDNS=1"))


BRIDGED = HostDevice("peth0", MAC, "eth0", "10.1.255.254/16", "10.1.1.1", 9000)
ALONE = HostDevice("eth0", MAC, "", "10.1.255.254/16", "", 1500)
BRIDGES = "/etc/systemd/system/systemd-networkd.service.d/rocks-bridges.conf"
SOCKET = "/etc/systemd/system/systemd-networkd.socket.d/rocks-bridges.conf"
LINK = MARK + "\n[Match]\nPermanentMACAddress=52:54:00:00:00:0a\n\n[Link]\nName=%s\nMTUBytes=%s\n"


def test_a_bridge_for_networkd() -> None:
    assert network_files([BRIDGED], "deb") == {
        "/etc/systemd/network/10-peth0.link": LINK % ("peth0", 9000),
        "/etc/systemd/network/10-eth0.netdev": MARK
        + "\n[NetDev]\nName=eth0\nKind=bridge\nMACAddress=52:54:00:00:00:0a\n"
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
    other = HostDevice("peth1", "52:54:00:00:00:0b", "eth1", "", "", 1500)
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
