"""What libvirt does to the documents of domains, for `fake.py`."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ElementTree
from typing import Tuple
from xml.etree.ElementTree import Element, SubElement

from rocks.machine.host.libvirt.domain_xml import DomainDocument
from rocks.machine.host.libvirt.interface_xml import LEASE, mac_of


def key_of(device: Element) -> Tuple[str, str, str]:
    """What libvirt compares to find a device: its kind, the name of a disk, the MAC address of an interface."""
    target = device.find("target") if device.tag == "disk" else None
    return device.tag, mac_of(device), "" if target is None else target.get("dev", "")


def with_devices(document: DomainDocument) -> DomainDocument:
    """The document of a domain that runs: libvirt has named the devices of its interfaces."""
    root = copy.deepcopy(document.root)
    for number, interface in enumerate(root.iterfind("devices/interface")):
        if interface.get("type") != "hostdev":
            name = "macvtap" if interface.get("type") == "direct" else "vnet"
            SubElement(interface, "target", {"dev": f"{name}{number}"})
    return DomainDocument(document.text, root)


def replace_lease(root: Element, lease: str) -> None:
    """Put the lease, a text of XML, in the place of an earlier one."""
    element = ElementTree.fromstring(lease)
    element.tag = LEASE
    metadata = root.find("metadata")
    if metadata is None:
        metadata = SubElement(root, "metadata")
    for old in metadata.findall(LEASE):
        metadata.remove(old)
    metadata.append(element)
