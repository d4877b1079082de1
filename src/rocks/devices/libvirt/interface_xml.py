"""What a domain's XML says of its interfaces, and of what may be sent on them."""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional, Tuple
from xml.etree.ElementTree import Element, SubElement

from rocks.errors import UserError

LEASE_NAMESPACE = "urn:rocks:lease"
LEASE = f"{{{LEASE_NAMESPACE}}}lease"
_NETWORK, _SENDER = (f"{{{LEASE_NAMESPACE}}}{tag}" for tag in ("network", "sender"))
_WITH_DEVICE = ("direct", "bridge", "network", "ethernet")
_ADDRESS_PARTS = ("domain", "bus", "slot", "function")

NO_ADDRESS = "0000:00:00.0"
"""What the frontend writes, which does not know a function's: at that address is the host's own bridge."""


class GuestInterface(NamedTuple):
    """An interface of a domain: its MAC address, and on its host what it hangs on and its own device.

    `device` is None before libvirt has made it, `source` where there is none.
    """

    mac: str
    is_macvtap: bool
    source: Optional[str]
    device: Optional[str]


class SenderLimits(NamedTuple):
    """What an interface may send, as the frontend wrote it; `is_shared`: on a network that others use too."""

    is_shared: bool = False
    ipv4: Tuple[str, ...] = ()
    ipv6: Tuple[str, ...] = ()


def interfaces_of(domain: Element) -> Tuple[GuestInterface, ...]:
    """Interfaces that have a device on the host, in the document's order; a virtual function has none."""
    found = domain.iterfind("devices/interface")
    return tuple(_interface(element) for element in found if element.get("type") in _WITH_DEVICE)


def vf_interfaces(domain: Element) -> List[Element]:
    """Interfaces that are virtual functions."""
    return domain.findall("devices/interface[@type='hostdev']")


def requires_filter(domain: Element) -> bool:
    """Whether the host is to filter what the guest sends; a document that says nothing wants it."""
    network = domain.find(f"metadata/{LEASE}/{_NETWORK}")
    return network is None or network.get("filter") != "off"


def senders_of(domain: Element) -> Dict[str, SenderLimits]:
    """MAC address in lower case → what may be sent under it."""
    found = domain.iterfind(f"metadata/{LEASE}/{_NETWORK}/{_SENDER}")
    return {element.get("mac", "").lower(): _sender(element) for element in found}


def mac_of(interface: Element) -> str:
    """In lower case; empty when it has none."""
    mac = interface.find("mac")
    return "" if mac is None else mac.get("address", "").lower()


def address_of(interface: Element) -> str:
    """PCI address of a virtual function, as 0000:03:00.1. UserError as `pci_address`."""
    address = interface.find("source/address")
    return NO_ADDRESS if address is None else pci_address(address)


def put_address(interface: Element, address: str) -> None:
    """Have the interface be the virtual function at this PCI address."""
    for old in interface.findall("source"):
        interface.remove(old)
    domain, bus, slot_and_function = address.split(":")
    slot, function = slot_and_function.split(".")
    values = (f"0x{domain}", f"0x{bus}", f"0x{slot}", f"0x{function}")
    source = SubElement(interface, "source")
    SubElement(source, "address", {"type": "pci", **dict(zip(_ADDRESS_PARTS, values))})


def pci_address(place: Element) -> str:
    """The address as 0000:03:00.1. UserError when a part of it is no number."""
    return "{:04x}:{:02x}:{:02x}.{:x}".format(*(_part(place, name) for name in _ADDRESS_PARTS))


def _interface(element: Element) -> GuestInterface:
    source, target = element.find("source"), element.find("target")
    is_macvtap = element.get("type") == "direct"
    return GuestInterface(
        mac=mac_of(element),
        is_macvtap=is_macvtap,
        source=None if source is None else source.get("dev" if is_macvtap else "bridge"),
        device=None if target is None else target.get("dev"),
    )


def _sender(element: Element) -> SenderLimits:
    return SenderLimits(
        is_shared=element.get("side") != "own",
        ipv4=tuple(element.get("ipv4", "").split()),
        ipv6=tuple(element.get("ipv6", "").split()),
    )


def _part(place: Element, name: str) -> int:
    """A number of a PCI address as libvirt writes it, 0x03 or 3."""
    text = place.get(name, "0")
    try:
        return int(text, 0)
    except ValueError:
        raise UserError(f"the domain XML has a PCI address whose {name} is {text[:40]!r}") from None
