"""Interfaces in the libvirt domain of a virtual machine, as lines of XML. Pure. Source: specification §5.8."""

from __future__ import annotations

from collections.abc import Sequence

from lxml import etree

from rocks.inventory.mac_pool import full_mac
from rocks.machine.domain.elements import element, lines_of
from rocks.network.guest_connections import Bridged, Connection, PhysicalMacvtap, VirtualFunction, VlanMacvtap


def interface_lines(connections: Sequence[Connection], queues: int) -> list[str]:
    """The interfaces, each of so many queues; an interface without a connection is left out."""
    lines: list[str] = []
    driver = [] if queues == 1 else [{"queues": str(queues)}]
    for connection in connections:
        if isinstance(connection, VlanMacvtap | PhysicalMacvtap):
            kind, source = "direct", {"dev": connection.device, "mode": "bridge"}
            model = element("model", {"type": "virtio"})
        elif isinstance(connection, Bridged):
            kind, source = "bridge", {"bridge": connection.bridge}
            model = element("model", {"type": "virtio"})
            if connection.is_open_vswitch:
                model = element("virtualport", {"type": "openvswitch"})
        elif isinstance(connection, VirtualFunction):
            lines += lines_of(_function(connection), 4)
            continue
        else:
            continue
        mac = element("mac", {"address": full_mac(connection.mac)})
        drivers = [element("driver", given) for given in driver if model.tag == "model"]
        one = element("interface", {"type": kind}, element("source", source), mac, model, *drivers)
        lines += lines_of(one, 4)
    return lines


def _function(connection: VirtualFunction) -> etree._Element:
    """A placeholder, which the schema requires; the agent inserts the VF's PCI address, which only the host knows."""
    address = {"type": "pci", **dict.fromkeys(("domain", "bus", "slot", "function"), "0x0")}
    interface = element(
        "interface",
        {"type": "hostdev", "managed": "yes"},
        element("source", {}, element("address", address)),
        element("mac", {"address": full_mac(connection.mac)}),
    )
    if connection.vlan:
        interface.append(element("vlan", {}, element("tag", {"id": str(connection.vlan)})))
    return interface
