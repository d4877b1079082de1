"""Network devices and packet filters in the plan of a start, and what the records do not let start."""

from dataclasses import replace

import pytest

from rocks.core.errors import StateError
from rocks.fleet.wire.requests import LinkSpec
from rocks.machine.spec import links_of, max_cpus, spec_of
from rocks.network.filter_plan import FilterPlan, PlannedSender
from rocks.network.guest_connections import (
    Bridged,
    PhysicalMacvtap,
    Unconnected,
    VirtualFunction,
    VlanMacvtap,
)
from tests.unit.machine.starts import facts, plan, started
from tests.unit.machines import container, interface, machine

TAP = VlanMacvtap("76:77:6e:80:00:00", "peth0.4", "peth0", 4, 9000)


VLAN = LinkSpec("peth0.4", "vlan", "peth0", 4, 9000)


SITE_BRIDGE = LinkSpec("eth0", "site_bridge", None, 0)


BRIDGE = LinkSpec("peth0.4", "local_bridge", None, 4, 9000)


def test_taps_share_one_vlan_device() -> None:
    taps = (TAP, replace(TAP, mac="76:77:6e:80:00:01"), Bridged("76:77:6e:80:00:02", "eth0"))
    assert started(facts(), connections=taps).request.links == (VLAN, SITE_BRIDGE)


def test_without_8021q_the_way_out_is_named() -> None:
    with pytest.raises(
        StateError, match=r"no 802.1Q VLANs; .*rocks set host attr vmc-0-0 vlan_transport local"
    ):
        plan(facts(has_8021q=False), connections=(TAP,))
    bridged = (Bridged("76:77:6e:80:00:02", "eth0"),)
    assert started(facts(has_8021q=False), connections=bridged).request.links == (SITE_BRIDGE,)


def test_a_host_may_keep_its_vlans_to_itself() -> None:
    vm = machine(place=container(vlan_transport="local"))
    reported = facts(has_8021q=False)
    assert started(reported, vm, (TAP,), neighbours={4: ["vmc-0-0"], 5: ["vmc-0-1"]}).request.links == (
        BRIDGE,
    )
    with pytest.raises(StateError, match="but VLAN 4 also has machines on vmc-0-1, vmc-0-2"):
        plan(reported, vm, (TAP,), neighbours={4: ["vmc-0-2", "vmc-0-0", "vmc-0-1"]})


def test_only_the_word_local_makes_vlans_local() -> None:
    assert links_of(container(vlan_transport="Local"), [TAP]) == (VLAN,)
    assert links_of(container(vlan_transport="local"), [TAP]) == (BRIDGE,)


def test_an_unconnected_interface_is_reported_without_an_error() -> None:
    found = started(facts(), connections=(Unconnected("eth1", "its host has no interface for VLAN 5"),))
    assert found.notes == ("eth1 of web is not connected: its host has no interface for VLAN 5",)


def test_a_function_does_not_reach_vlans_that_are_the_hosts_own() -> None:
    function = VirtualFunction(TAP.mac, "eth0", "peth0", 4)
    vm = machine(place=container(vlan_transport="local"))
    with pytest.raises(
        StateError, match="vlan_transport=local.* rocks set host interface options web 76:77:"
    ):
        spec_of(vm, [function], {})
    assert spec_of(vm, [replace(function, vlan=0)], {}).request.links == ()
    assert spec_of(machine(), [function], {}).request.links == ()


def test_what_each_interface_may_send_goes_with_the_plan() -> None:
    others = Bridged("76:77:6e:80:00:02", "eth0")
    assert started(facts(), connections=(TAP, others)).network == FilterPlan(
        True, (PlannedSender(TAP.mac, False), PlannedSender(others.mac, True))
    )


def test_a_kernel_without_packet_filters_is_refused_unless_the_attribute_says_off() -> None:
    reported = facts(has_filters=False)
    with pytest.raises(
        StateError, match=r"cannot filter packets of guests; .*rocks set host attr vmc-0-0 vm_filter off"
    ):
        plan(reported, connections=(TAP,))
    assert started(reported).network.senders == ()
    for vm in (machine(place=container(vm_filter="off")), machine(attributes={"vm_filter": "OFF"})):
        found = started(reported, vm, (TAP,))
        assert not found.network.is_on
        assert "web runs without a packet filter (vm_filter=off of" in found.notes[-1]
    with pytest.raises(StateError, match='vm_filter of web is "no"; it must be on or off'):
        plan(facts(), machine(attributes={"vm_filter": "no"}), (TAP,))


def test_what_a_virtual_function_sends_is_not_for_the_hosts_filter() -> None:
    """Neither is a kernel without filters refused for it, nor is anything reported when the filter is off."""
    function = VirtualFunction("76:77:6e:80:00:02", "eth0", "peth0", 4)
    reported = facts(has_filters=False)
    assert started(reported, connections=(function,)).network == FilterPlan(True, ())
    with pytest.raises(StateError, match="cannot filter packets of guests"):
        plan(reported, connections=(function, TAP))
    assert started(reported, machine(attributes={"vm_filter": "off"}), (function,)).notes == ()


def test_addresses_of_the_sender() -> None:
    arguments = {"vm_ipv6": "2001:db8:0::9, fd00::1"}
    found = started(facts(), machine(attributes=arguments), (PhysicalMacvtap("76:77:6e:80:00:02", "eth1"),))
    assert found.network.senders == (
        PlannedSender("76:77:6e:80:00:02", True, (), ("2001:db8::9", "fd00::1")),
    )
    assert found.request.links == (LinkSpec("eth1", "site_device", None, 0),)
    for wrong in ("2001:db8::/64", "1.2.3.4", "ff02::1", "::", "fe80::1%eth0", "x"):
        with pytest.raises(StateError, match="not an IPv6 address of a machine"):
            plan(facts(), machine(attributes={"vm_ipv6": wrong}), (TAP,))
    with pytest.raises(StateError, match="has 9 addresses; the maximum is 8"):
        plan(facts(), machine(attributes={"vm_ipv6": ",".join(f"fd00::{n}" for n in range(1, 10))}), (TAP,))


def test_an_address_that_is_none_is_named() -> None:
    eth0 = interface("eth0", "web", mac=TAP.mac, ip="10.1.0")
    vm = machine()
    vm = replace(vm, host=replace(vm.host, interfaces=(eth0,)))
    with pytest.raises(StateError, match='eth0 of web has the invalid ip address "10.1.0"'):
        plan(facts(), vm, (PhysicalMacvtap(TAP.mac, "eth1"),))
    found = started(
        facts(),
        replace(vm, host=replace(vm.host, interfaces=(replace(eth0, ip="10.1.0.9"),))),
        (PhysicalMacvtap(TAP.mac, "eth1"),),
    )
    assert found.network.senders == (PlannedSender(TAP.mac, True, ("10.1.0.9",)),)


def test_more_cpus_than_a_machine_can_have_are_refused_before_the_host_is_asked() -> None:
    """As an earlier release recorded them; its maximum for a running machine counts as none."""
    with pytest.raises(StateError, match="has at most 255; rocks set host vm web cpus=255"):
        spec_of(machine("web", cpus=256), [], {})
    assert spec_of(machine("web", cpus=255), [], {}).request.links == ()
    stored = {"kvm_max_cpus": "4096"}
    assert max_cpus(machine("web", cpus=4, attributes=stored)) == 4
