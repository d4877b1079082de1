"""Interfaces in a domain's XML, and the addresses that each may use as a sender; pure."""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional, Tuple
from xml.etree.ElementTree import Element, SubElement

from rocks.core.errors import UserError

LEASE_NAMESPACE = "urn:rocks:lease"
LEASE = f"{{{LEASE_NAMESPACE}}}lease"
NETWORK, _SENDER = (f"{{{LEASE_NAMESPACE}}}{tag}" for tag in ("network", "sender"))
_WITH_DEVICE = ("direct", "bridge", "network", "ethernet")
_ADDRESS_PARTS = ("domain", "bus", "slot", "function")

NO_ADDRESS = "0000:00:00.0"
"""Placeholder of the frontend, which does not know the address; the host bridge has this address."""


class GuestInterface(NamedTuple):
    """An interface of a domain. `source` is the host device or bridge below it, `device` its macvtap or tap.

    `device` is None before libvirt has created it; `source` is None where the XML has none.
    """

    mac: str
    is_macvtap: bool
    source: Optional[str]
    device: Optional[str]


class SenderLimits(NamedTuple):
    """Allowed sender addresses of an interface, from the domain's metadata; `is_shared`: on a shared network."""

    is_shared: bool = False
    ipv4: Tuple[str, ...] = ()
    ipv6: Tuple[str, ...] = ()


def interfaces_of(domain: Element) -> Tuple[GuestInterface, ...]:
    """Interfaces with a network device on the host, in document order; virtual functions are excluded."""
    found = domain.iterfind("devices/interface")
    return tuple(_interface(element) for element in found if element.get("type") in _WITH_DEVICE)


def vf_interfaces(domain: Element) -> List[Element]:
    """Interfaces that are virtual functions."""
    return domain.findall("devices/interface[@type='hostdev']")


def requires_filter(domain: Element) -> bool:
    """Whether the host must filter the guest's frames; the default is yes."""
    network = domain.find(f"metadata/{LEASE}/{NETWORK}")
    return network is None or network.get("filter") != "off"


def senders_of(domain: Element) -> Dict[str, SenderLimits]:
    """MAC address (lower case) → allowed sender addresses."""
    found = domain.iterfind(f"metadata/{LEASE}/{NETWORK}/{_SENDER}")
    return {element.get("mac", "").lower(): _sender(element) for element in found}


def mac_of(interface: Element) -> str:
    """MAC address in lower case; empty when it is missing."""
    mac = interface.find("mac")
    return "" if mac is None else mac.get("address", "").lower()


def address_of(interface: Element) -> str:
    """PCI address of a virtual function, as 0000:03:00.1. UserError as `pci_address`."""
    address = interface.find("source/address")
    return NO_ADDRESS if address is None else pci_address(address)


def put_address(interface: Element, address: str) -> None:
    """Set the PCI address of the virtual function as the source of the interface."""
    for old in interface.findall("source"):
        interface.remove(old)
    domain, bus, slot_and_function = address.split(":")
    slot, function = slot_and_function.split(".")
    values = (f"0x{domain}", f"0x{bus}", f"0x{slot}", f"0x{function}")
    source = SubElement(interface, "source")
    SubElement(source, "address", {"type": "pci", **dict(zip(_ADDRESS_PARTS, values))})


def pci_address(place: Element) -> str:
    """The address as 0000:03:00.1. UserError when a part is not a number."""
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
