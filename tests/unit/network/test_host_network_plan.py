"""The network of a host: its devices, and the files that make them."""

import re
import shlex
from dataclasses import replace

import pytest

from rocks.inventory.records import Host
from rocks.network.host_network_files import MARK, file_permissions, network_files, removal_text
from rocks.network.host_network_plan import HostDevice, LeftOut, plan_network
from tests.unit.machines import PRIVATE, PUBLIC, container, interface

MAC, OTHER = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
ETH0 = interface("eth0", mac=MAC, ip="10.1.255.254", **PRIVATE)


def _devices(host: Host) -> tuple[HostDevice, ...]:
    return plan_network(host).devices


def test_a_device_of_a_host_of_machines_is_a_bridge_over_its_adapter() -> None:
    (device,) = _devices(container(interfaces=[ETH0]))
    assert device == HostDevice("peth0", MAC, "eth0", "10.1.255.254/16", "", 1500)
    assert device.name == "eth0"


def test_with_novtap_and_on_other_hosts_the_adapter_has_the_name() -> None:
    alone = HostDevice("eth0", MAC, "", "10.1.255.254/16", "", 1500)
    assert _devices(container(interfaces=[replace(ETH0, options="novtap")])) == (alone,)
    assert _devices(container(interfaces=[ETH0], kvm="no")) == (alone,)


def test_the_gateway_belongs_to_the_first_device_with_an_address() -> None:
    eth1 = interface("eth1", mac=OTHER, ip="203.0.113.9", **PUBLIC)
    devices = _devices(container(interfaces=[eth1, ETH0], kvm="no", Kickstart_PrivateGateway="10.1.1.1"))
    assert [(one.name, one.gateway) for one in devices] == [("eth0", "10.1.1.1"), ("eth1", "")]
    own = _devices(container(interfaces=[ETH0], Kickstart_PrivateGateway="10.1.255.254"))
    assert own[0].gateway == "", "a host is not its own gateway"


def test_a_device_without_an_address_is_there_and_others_are_the_operators() -> None:
    found = _devices(
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
    assert _devices(container(interfaces=[interface("eth0", mac=None, **PRIVATE)])) == ()


ELSEWHERE = "a node of the site can do it, and rocks set host interface options"
SECOND = interface("eth1", mac=OTHER, ip="10.2.0.9", **PUBLIC)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"device": "eth0; reboot"}, "is not a valid name"),
        ({"device": "eth0\nName=x"}, "is not a valid name"),
        ({"device": "e" * 15}, "is not a valid name"),
        (
            {"device": None},
            "it has no device: rocks set host interface iface vmc-0-0 52:54:00:00:00:0b DEVICE",
        ),
        (
            {"device": "eth0:1"},
            f"no file gives a device a second address; {ELSEWHERE} vmc-0-0 eth0:1 options=noreport",
        ),
        ({"device": "vlan7"}, f"no file gives the device of a VLAN an address; {ELSEWHERE} vmc-0-0 vlan7"),
        ({"mac": None}, "it has no MAC address: rocks set host interface mac vmc-0-0 eth1 MAC"),
        ({"mac": ":".join(["80"] * 20)}, f"that of an InfiniBand adapter; {ELSEWHERE} vmc-0-0 eth1"),
        (
            {"mac": "00:00:00:00:00:00"},
            "its MAC address is all zeros, .*: rocks set host interface mac vmc-0-0 eth1 MAC",
        ),
        ({"mac": "01:00:5e:00:00:01"}, "its MAC address is a multicast address, that of a group"),
        ({"mac": "52:54:00:00:00:$("}, "MAC address"),
        ({"ip": "10.1.1"}, "not valid together"),
        ({"netmask": "255.0.255.0"}, "not valid together"),
        (
            {"netmask": None, "subnet": None},
            "it is on no network: rocks set host interface subnet vmc-0-0 eth1 NETWORK",
        ),
        ({"mtu_bytes": 9}, "has the MTU 9"),
        ({"mac": MAC.upper()}, "another device has the MAC address 52:54:00:00:00:0a"),
        ({"device": "peth0", "options": "novtap"}, "another device has the name peth0"),
        ({"module": "bonding", "options": "mode=none"}, "has the mode none"),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_what_gets_no_file_is_left_out_alone_and_named(
    changed: dict[str, object], message: str, order: int
) -> None:
    other = replace(SECOND, **changed)  # type: ignore[arg-type]
    devices, left_out = plan_network(container(interfaces=[ETH0, other][::order]))
    assert [(one.name, one.address) for one in devices] == [("eth0", "10.1.255.254/16")]
    (one,) = left_out
    assert re.search(message, one.text) and "rocks " in one.text and "\n" not in one.text
    assert "of host vmc-0-0 is not set up: " in one.text and one.device == (other.device or "")


def test_others_are_left_out_silently() -> None:
    for changed in ({"device": "ipmi"}, {"channel": "1"}, {"options": "noreport"}, {"module": "ovs-bridge"}):
        other = replace(SECOND, mac=None, **changed)  # type: ignore[arg-type]
        assert plan_network(container(interfaces=[other])) == ((), ())
    assert plan_network(container(interfaces=[replace(SECOND, ip=None, mac=None)])) == ((), ())


def test_without_its_bond_no_adapter_is_set_up() -> None:
    bond = interface("bond0", module="bonding", ip="10.1.0.9", options="speed=9", **PRIVATE)
    adapter = interface("eth1", mac=OTHER, channel="bond0")
    devices, left_out = plan_network(container(interfaces=[adapter, bond, ETH0]))
    assert [one.name for one in devices] == ["eth0"]
    assert [one.device for one in left_out] == ["bond0", "eth1"] and "its bond bond0 is not" in left_out[
        1
    ].text


def test_an_invalid_gateway_is_left_out() -> None:
    devices, left_out = plan_network(container(interfaces=[ETH0], Kickstart_PrivateGateway="10.1.1.1\nDNS=1"))
    assert devices[0].gateway == "" and "Kickstart_PrivateGateway" in left_out[0].text
    assert left_out == (LeftOut("", left_out[0].text),)


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
