"""The network devices that a host is to have: names by MAC address, bridges, addresses. Pure.

A device of a VM container is a bridge of that name, whose port is the adapter `p` and the name: there VLANs of clusters
are made, and the host's guests are attached to the bridge. With the option `novtap` the adapter itself has the name.
Source: specification §5.5.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, NamedTuple

from rocks.cluster.attributes import KNOWN
from rocks.cluster.names import printable
from rocks.cluster.vm_network import DEFAULT_MTU_BYTES, LONGEST_DEVICE_NAME, kernel_device
from rocks.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.cluster.records import Host, Interface

_DEVICE = re.compile(r"[A-Za-z][A-Za-z0-9_-]*", re.ASCII)
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", re.ASCII)
_MTU_BYTES = range(576, 65536)


class HostDevice(NamedTuple):
    """A device: the adapter's name and MAC address in lower case, the bridge over it or '', an address with its prefix
    length or '' and a gateway or '' of that bridge or adapter, and the MTU in bytes of all of it.
    """

    adapter: str
    mac: str
    bridge: str
    address: str
    gateway: str
    mtu_bytes: int

    @property
    def name(self) -> str:
        """The name in the database, by which the host's address is found."""
        return self.bridge or self.adapter


def plan_devices(host: Host) -> tuple[HostDevice, ...]:
    """The devices of a host that have a MAC address, that on the primary network first; () when none has one.

    Devices of Open vSwitch and InfiniBand are the operator's. UserError, with the command that corrects it, for an
    invalid record.
    """
    chosen = [one for one in host.interfaces if one.device and _is_ours(one)]
    primary = (host.attribute("primary_net") or KNOWN["primary_net"].default).lower()
    chosen.sort(key=lambda one: (one.subnet or "").lower() != primary)
    gateway = _gateway(host)
    found = []
    for interface in chosen:
        device = _device(host, interface)
        if device.address and gateway:
            device, gateway = device._replace(gateway=_within(device, gateway, host)), ""
        found.append(device)
    _check_distinct(host, found)
    return tuple(found)


def _is_ours(interface: Interface) -> bool:
    is_ethernet = len((interface.mac or "").split(":")) == 6
    return is_ethernet and not interface.is_vlan and not (interface.module or "").startswith("ovs")


def _device(host: Host, interface: Interface) -> HostDevice:
    name, mac = str(interface.device), str(interface.mac).lower()
    adapter = kernel_device(name, interface.options) if host.is_true("kvm") else name
    if not _DEVICE.fullmatch(name) or len(adapter) > LONGEST_DEVICE_NAME:
        raise UserError(
            f'the device "{printable(name)}" of host {host.name} is not a valid name: rocks set host interface iface'
        )
    if not _MAC.fullmatch(mac):
        raise UserError(
            f'the MAC address "{printable(mac)}" of {name} is not valid: rocks set host interface mac {host.name} '
            f"{name}"
        )
    mtu_bytes = interface.mtu_bytes or DEFAULT_MTU_BYTES
    if mtu_bytes not in _MTU_BYTES:
        raise UserError(
            f"the network {printable(str(interface.subnet))} has the MTU {mtu_bytes}: rocks set network mtu"
        )
    bridge = "" if adapter == name else name
    return HostDevice(adapter, mac, bridge, _address(host, interface), "", mtu_bytes)


def _address(host: Host, interface: Interface) -> str:
    if not interface.ip:
        return ""
    try:
        return ipaddress.IPv4Interface(f"{interface.ip}/{interface.netmask}").with_prefixlen
    except ValueError:
        raise UserError(
            f'the device {interface.device} has the address "{printable(interface.ip)}" with the netmask '
            f'"{printable(str(interface.netmask))}", which are not valid together: rocks set host interface ip '
            f"{host.name} {interface.device}, rocks set network netmask"
        ) from None


def _gateway(host: Host) -> str:
    text = host.attribute("Kickstart_PrivateGateway").strip()
    try:
        return str(ipaddress.IPv4Address(text)) if text else ""
    except ValueError:
        raise UserError(
            f'the attribute Kickstart_PrivateGateway has "{printable(text)}", which is not an IPv4 address'
        ) from None


def _within(device: HostDevice, gateway: str, host: Host) -> str:
    """The gateway; '' when it is the host itself, or not on the device's network."""
    own = ipaddress.IPv4Interface(device.address)
    address = ipaddress.IPv4Address(gateway)
    return gateway if address in own.network and address != own.ip else ""


def _check_distinct(host: Host, devices: Sequence[HostDevice]) -> None:
    for what, values in (
        ("name", [name for one in devices for name in {one.adapter, one.name}]),
        ("MAC address", [one.mac for one in devices]),
    ):
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise UserError(
                f"two devices of host {host.name} have the {what} {twice}: rocks list host interface {host.name}"
            )
