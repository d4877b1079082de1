"""Which device of its container an interface of a virtual machine is connected to."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.core.process import run_checked
from rocks.fleet.wire.requests import LinkSpec
from rocks.inventory.records import Interface
from rocks.network.guest_connections import (
    LONGEST_DEVICE_NAME,
    Bridged,
    PhysicalMacvtap,
    Unconnected,
    VirtualFunction,
    VlanMacvtap,
    connect,
    kernel_device,
    serving,
    vlan_device,
    vlan_lines,
)
from tests.unit.machines import PRIVATE, PUBLIC, interface

NO_VLAN_5 = (
    "its host has no interface for VLAN 5: rocks add host interface vmc-0-0 vlan5 subnet=private vlan=5"
)
MAC, OTHER_MAC = "76:77:6e:80:00:00", "76:77:6e:80:00:01"


def guest(device: str = "eth0", mac: str | None = MAC, **values: Any) -> Interface:
    """An interface of a virtual machine."""
    return interface(device, "web", mac=mac, **values)


def test_a_vlan_that_the_container_carries_gives_a_tap_over_its_device() -> None:
    carrier = [interface("eth0", **PRIVATE), interface("vlan4", vlan=4, subnet="private")]
    assert connect([guest(vlan=4)], carrier) == [VlanMacvtap(MAC, "peth0.4", "peth0", 4, 1500)]


def test_the_network_of_the_machines_own_interface_does_not_matter_for_a_tap() -> None:
    carrier = [
        interface("eth0", **PRIVATE),
        interface("eth1", **PUBLIC),
        interface("vlan4", vlan=4, subnet="public"),
    ]
    assert connect([guest(vlan=4, **PRIVATE)], carrier) == [VlanMacvtap(MAC, "peth1.4", "peth1", 4, 1500)]


@pytest.mark.parametrize("options", ["novtap", "dhcp novtap", "dhcp,novtap"])
def test_a_device_without_the_p_for_those_with_novtap(options: str) -> None:
    carrier = [interface("bond0", options=options, **PRIVATE), interface("vlan4", vlan=4, subnet="private")]
    assert connect([guest(vlan=4)], carrier) == [VlanMacvtap(MAC, "bond0.4", "bond0", 4, 1500)]


def test_a_shared_network_by_a_macvtap_where_the_device_says_so() -> None:
    carrier = [interface("eth1", options="novtap,macvtap", **PUBLIC)]
    assert connect([guest(**PUBLIC)], carrier) == [PhysicalMacvtap(MAC, "eth1")]
    assert connect([guest(**PUBLIC)], [interface("eth1", options="macvtaps", **PUBLIC)]) == [
        Bridged(MAC, "eth1")
    ]


def test_only_the_whole_word_novtap_counts() -> None:
    carrier = [
        interface("eth0", options="novtapping", **PRIVATE),
        interface("vlan4", vlan=4, subnet="private"),
    ]
    assert connect([guest(vlan=4)], carrier) == [VlanMacvtap(MAC, "peth0.4", "peth0", 4, 1500)]


def test_the_tap_has_the_networks_mtu() -> None:
    carrier = [
        interface("eth0", subnet="private", mtu_bytes=9000),
        interface("vlan4", vlan=4, subnet="private"),
    ]
    assert connect([guest(vlan=4)], carrier) == [VlanMacvtap(MAC, "peth0.4", "peth0", 4, 9000)]


@pytest.mark.parametrize("vlan", [None, 0])
@pytest.mark.parametrize("of_container", [None, 0])
def test_an_interface_on_a_network_of_the_container_is_a_port_of_its_bridge(
    vlan: int | None, of_container: int | None
) -> None:
    carrier = [interface("eth0", **PRIVATE), interface("eth1", vlan=of_container, **PUBLIC)]
    assert connect([guest(vlan=vlan, **PUBLIC)], carrier) == [Bridged(MAC, "eth1")]


def test_a_bridge_on_a_vlan_takes_machines_of_that_vlan_only() -> None:
    carrier = [interface("br7", vlan=7, **PRIVATE)]
    assert connect([guest(vlan=7, **PRIVATE)], carrier) == [Bridged(MAC, "br7")]
    assert isinstance(connect([guest(**PRIVATE)], carrier)[0], Unconnected)


def test_open_vswitch() -> None:
    bridge = [interface("ovs0", module="ovs-bridge", **PRIVATE)]
    assert connect([guest(**PRIVATE)], bridge) == [Bridged(MAC, "ovs0", is_open_vswitch=True)]
    link = [interface("eth0", module="ovs-link", **PRIVATE)]
    assert connect([guest(**PRIVATE)], link) == []


def test_taps_come_first() -> None:
    carrier = [interface("eth0", **PRIVATE), interface("vlan4", vlan=4, subnet="private")]
    found = connect([guest("eth0", MAC, **PRIVATE), guest("eth1", OTHER_MAC, vlan=4)], carrier)
    assert found == [VlanMacvtap(OTHER_MAC, "peth0.4", "peth0", 4, 1500), Bridged(MAC, "eth0")]


def test_what_is_disabled_is_left_out() -> None:
    carrier = [interface("eth0", **PRIVATE)]
    assert (
        connect([guest(kvm_disabled=True, **PRIVATE), guest(mac=None, kvm_disabled=True, vlan=4)], carrier)
        == []
    )


@pytest.mark.parametrize("mac", [None, ""])
def test_an_interface_of_a_network_or_vlan_without_a_mac_is_not_connected(mac: str | None) -> None:
    carrier = [interface("eth0", **PRIVATE)]
    own = [guest(device, mac, **PRIVATE) for device in ("eth0:1", "eth0.7", "vlan7", "bond0", "br0")]
    others = [guest("eth2", mac), *own]  # its guest makes them
    found = connect([guest(mac=mac, **PRIVATE), guest("eth1", mac, vlan=4), *others], carrier)
    reason = "it has no MAC address; rocks set host interface mac gives it one"
    assert found == [Unconnected("eth0", reason), Unconnected("eth1", reason)]


@pytest.mark.parametrize("mac", ["00:00:00:00:00:00", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff"])
@pytest.mark.parametrize("vlan", [None, 4])
def test_an_address_that_no_adapter_can_have_is_not_connected(mac: str, vlan: int | None) -> None:
    """QEMU took another one for zeros."""
    carrier = [interface("eth0", **PRIVATE), interface("vlan4", vlan=4, **PRIVATE)]
    own = interface("eth0", "vm", mac=mac, vlan=vlan, **PRIVATE)
    (found,) = connect([own], carrier)
    assert isinstance(found, Unconnected) and found.reason.startswith("its MAC address is ")
    assert serving(own, carrier) == ()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (
            {"vlan": 5},
            NO_VLAN_5,
        ),
        (
            {"vlan": 5, **PRIVATE},
            NO_VLAN_5,
        ),
        ({"subnet": "optical"}, "its host has no interface for network optical"),
        ({}, "it is on no network and on no VLAN"),
        ({"vlan": 0}, "it is on no network and on no VLAN"),
    ],
)
def test_why_an_interface_is_not_connected(values: dict[str, Any], reason: str) -> None:
    carrier = [interface("eth0", **PRIVATE), interface("vlan4", vlan=4, subnet="private")]
    assert connect([guest(**values)], carrier) == [Unconnected("eth0", reason)]


def test_a_vlan_on_a_network_without_a_device_is_no_way_out() -> None:
    """The network of the only other device may be the public one, where nobody's VLAN belongs."""
    carrier = [interface("eth0", **PRIVATE), interface("vlan4", vlan=4, subnet="optical")]
    reason = (
        "its host has no device on network optical, which carries VLAN 4: "
        "rocks add host interface vmc-0-0 IFACE subnet=optical"
    )
    assert connect([guest(vlan=4)], carrier) == [Unconnected("eth0", reason)]


def test_interfaces_without_a_network_are_on_no_network_together() -> None:
    assert isinstance(connect([guest()], [interface("eth0")])[0], Unconnected)
    carrier = [interface("eth0"), interface("vlan4", vlan=4)]
    reason = (
        "its host has no interface for VLAN 4: rocks set host interface subnet vmc-0-0 vlan4 NETWORK, where "
    )
    assert connect([guest(vlan=4)], carrier) == [
        Unconnected("eth0", f"{reason}NETWORK is that of a device of the host, and not public")
    ]
    two = [interface("eth0", **PRIVATE), interface("eth1", subnet="optical"), interface("vlan4", vlan=4)]
    assert connect([guest(vlan=4)], two) == [Unconnected("eth0", f"{reason}NETWORK is private or optical")]


def test_a_private_vlan_is_not_advised_for_the_public_network() -> None:
    """A frontend whose private interface is gone has the public network alone."""
    public = [interface("eth1", **PUBLIC)]
    no_entry = "its host has no interface for VLAN 4: rocks add host interface vmc-0-0 vlan4 subnet="
    choice = "NETWORK vlan=4, where NETWORK is that of a device of the host, and not public"
    assert connect([guest(vlan=4, **PRIVATE)], public) == [Unconnected("eth0", no_entry + choice)]
    both = [*public, interface("eth0", **PRIVATE)]
    assert connect([guest(vlan=4)], both) == [Unconnected("eth0", f"{no_entry}private vlan=4")]
    assert connect([guest(vlan=4, **PUBLIC)], public) == [Unconnected("eth0", f"{no_entry}public vlan=4")]


def test_a_second_device_on_a_network_serves_nobody() -> None:
    first, second = interface("eth0", **PRIVATE), interface("eth1", **PRIVATE)
    other, vlan = interface("eth2", vlan=9, **PUBLIC), interface("vlan4", vlan=4, subnet="private")
    carrier = [first, second, other, vlan]
    assert list(map(id, serving(guest(vlan=4), carrier))) == [id(vlan), id(first)]
    assert connect([guest(vlan=4)], carrier) == [VlanMacvtap(MAC, "peth0.4", "peth0", 4, 1500)]
    assert list(map(id, serving(guest(**PRIVATE), carrier))) == [id(first)]
    assert connect([guest(**PRIVATE)], carrier) == [Bridged(MAC, "eth0")]
    for unconnected in (guest(**PUBLIC), guest(vlan=5), guest()):
        assert serving(unconnected, carrier) == ()
    assert (
        serving(guest(mac=None, **PRIVATE), carrier)
        == serving(guest(kvm_disabled=True, **PRIVATE), carrier)
        == ()
    )


def test_a_vlan_device_has_the_name_that_the_specification_says() -> None:
    assert vlan_device("peth0", 4) == "peth0.4"
    assert vlan_device("p123456789", 4094) == "p123456789.4094"


def test_a_name_too_long_for_the_kernel_is_shortened_and_stays_apart_from_others() -> None:
    one, other = vlan_device("penp129s0f0np0", 4094), vlan_device("penp129s0f0np1", 4094)
    assert one != other
    assert one == vlan_device("penp129s0f0np0", 4094)
    assert one.startswith("v4094-")


@given(st.from_regex(r"p[a-z][a-z0-9]{0,14}", fullmatch=True), st.integers(1, 4094))
def test_every_name_fits_the_kernel(parent: str, vlan: int) -> None:
    assert len(vlan_device(parent, vlan)) <= LONGEST_DEVICE_NAME


FUNCTION = VirtualFunction(MAC, "eth0", "peth0", 4)
CARRIER = [interface("eth0", **PRIVATE), interface("vlan4", vlan=4, subnet="private")]


@pytest.mark.parametrize("options", ["sriov", "dhcp sriov", "dhcp,sriov"])
def test_an_interface_that_asks_for_a_function_gets_one_of_the_device_of_its_vlan(options: str) -> None:
    assert connect([guest(vlan=4, options=options)], CARRIER) == [FUNCTION]


@pytest.mark.parametrize("options", ["sriovs", "sriov-trust", "no-sriov"])
def test_only_the_whole_word_sriov_counts(options: str) -> None:
    assert connect([guest(vlan=4, options=options)], CARRIER) == [
        VlanMacvtap(MAC, "peth0.4", "peth0", 4, 1500)
    ]


def test_trust_and_sources_are_separate_keywords() -> None:
    trusted, any_source = "sriov sriov-trust", "sriov,sriov-nospoofchk"
    assert connect([guest(vlan=4, options=trusted)], CARRIER) == [
        VirtualFunction(MAC, "eth0", "peth0", 4, is_trusted=True)
    ]
    assert connect([guest(vlan=4, options=any_source)], CARRIER) == [
        VirtualFunction(MAC, "eth0", "peth0", 4, checks_source=False)
    ]


def test_a_function_without_vlan_is_of_the_device_on_the_machines_network() -> None:
    carrier = [interface("eth0", **PRIVATE), interface("eth1", options="novtap", **PUBLIC)]
    assert connect([guest(options="sriov", **PUBLIC)], carrier) == [VirtualFunction(MAC, "eth1", "eth1", 0)]


def test_a_function_of_a_network_that_the_container_has_not() -> None:
    (found,) = connect([guest(vlan=5, options="sriov")], CARRIER)
    assert found == Unconnected(
        "eth0",
        NO_VLAN_5,
    )


def test_taps_come_first_and_functions_keep_their_order_among_the_rest() -> None:
    found = connect(
        [guest("eth0", OTHER_MAC, vlan=4, options="sriov"), guest("eth1", **PRIVATE), guest("eth2", vlan=4)],
        CARRIER,
    )
    assert [type(one) for one in found] == [VlanMacvtap, VirtualFunction, Bridged]


def test_the_kernels_name_of_an_adapter() -> None:
    assert kernel_device("eth0", None) == "peth0"
    assert kernel_device("eth0", "dhcp,novtap") == "eth0"


def test_a_vlan_device() -> None:
    (line,) = vlan_lines([LinkSpec("eth0.7", "vlan", "eth0", 7, 9000)])
    assert line.startswith(
        "[ -e /sys/class/net/eth0.7 ] || { ip link add link eth0 name eth0.7 type vlan id 7 && "
        "echo 1 >/proc/sys/net/ipv6/conf/eth0.7/disable_ipv6; "
    )
    assert line.endswith("; ip link set eth0.7 mtu 9000 arp off alias rocks:7 up; }")


def test_a_long_name_is_stated() -> None:
    device = vlan_device("enp129s0f0np0", 100)
    (line,) = vlan_lines([LinkSpec(device, "vlan", "enp129s0f0np0", 100)])
    assert len(device) <= 15 and device.startswith("v100-")
    assert line.endswith("; }  # enp129s0f0np0.100")


def test_a_bridge_of_the_hosts_own() -> None:
    (line,) = vlan_lines([LinkSpec("p.7", "local_bridge", None, 7)])
    assert "ip link add p.7 type bridge && " in line


def test_the_line_is_valid_for_any_name() -> None:
    (line,) = vlan_lines([LinkSpec("a;b.7", "vlan", "a;b", 7)])
    run_checked(["/bin/sh", "-n"], deadline_seconds=10, standard_input=line.encode())
    assert "a;b" not in line.replace("'a;b.7'", "").replace("'a;b'", "")
