"""Which network devices a host is to have."""

from dataclasses import replace

import pytest

from rocks.core.errors import UserError
from rocks.network.host_network_plan import HostDevice, plan_devices
from tests.unit.machines import PRIVATE, PUBLIC, container, interface

MAC, OTHER = "52:54:00:00:00:01", "52:54:00:00:00:02"
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
