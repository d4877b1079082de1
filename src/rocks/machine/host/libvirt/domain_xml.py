"""Domain XML on the host: facts are read from it, and it is adapted to the host; pure."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Tuple
from xml.etree.ElementTree import Element, SubElement

from rocks.core.errors import IncoherentError, UserError
from rocks.core.values import KIB_PER_MB
from rocks.fleet.wire.facts import ConsoleFact

# Interfaces in a domain's XML, and the addresses that each may use as a sender.

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


# a document of this system or of libvirt keeps its prefixes when it is written again
ElementTree.register_namespace("rocks", LEASE_NAMESPACE)
DISK = f"{{{LEASE_NAMESPACE}}}disk"
"""The tag of a disk in the lease."""
ElementTree.register_namespace("qemu", "http://libvirt.org/schemas/domain/qemu/1.0")


_CPU_SHAPE = ("topology", "numa", "maxphysaddr")


class DiskIdentity(NamedTuple):
    """A disk in the lease, and what its path led to: device and inode of a file, or number of a block device and 0.

    `machine` is the UUID in the file's mark, which a new file with the same inode does not have; empty: not compared.
    """

    path: str
    device: int
    inode: int
    machine: str = ""

    @property
    def element(self) -> Element:
        """Its element in the lease."""
        return Element(DISK, {name: str(value) for name, value in self._asdict().items()})


class DomainDocument(NamedTuple):
    """A domain's XML: its text as received, and its tree."""

    text: str
    root: Element

    @property
    def name(self) -> str:
        """Name of the domain; empty when it is missing."""
        return self.root.findtext("name", "")

    @property
    def uuid(self) -> str:
        """UUID of the domain; empty when it is missing."""
        return self.root.findtext("uuid", "")

    @property
    def token(self) -> Optional[int]:
        """Token of the lease; None for a domain that this system does not manage."""
        lease = self.root.find(f"metadata/{LEASE}")
        text = "" if lease is None else lease.get("token", "")
        return int(text) if text.isascii() and text.isdigit() else None

    @property
    def disk_identities(self) -> Tuple[DiskIdentity, ...]:
        """Each disk as the lease has it: what the host checked before the definition."""
        return tuple(_lease_disk(found) for found in self.root.iterfind(f"metadata/{LEASE}/{DISK}"))

    @property
    def disks_and_cds(self) -> Tuple[str, ...]:
        """Files and devices that the domain has as disks or CD images."""
        sources = self.root.findall("devices/disk/source")
        return tuple(path for source in sources for path in (source.get("file"), source.get("dev")) if path)

    @property
    def has_agent(self) -> bool:
        """Whether a running domain's guest agent has opened its channel."""
        targets = self.root.iterfind("devices/channel/target")
        return any(
            target.get("name") == "org.qemu.guest_agent.0" and target.get("state") == "connected"
            for target in targets
        )

    @property
    def memory_mb(self) -> int:
        """Memory in MB (libvirt writes KiB); 0 when it is missing."""
        return int(self.root.findtext("memory", "0")) // KIB_PER_MB

    @property
    def cpus(self) -> int:
        """Number of virtual CPUs that the guest has; those up to the maximum can be added."""
        cpus = self.root.find("vcpu")
        return self.max_cpus if cpus is None else int(cpus.get("current", self.max_cpus))

    @property
    def max_cpus(self) -> int:
        """The maximum of virtual CPUs."""
        return int(self.root.findtext("vcpu", "1"))

    @property
    def max_memory_mb(self) -> int:
        """The maximum of memory in MB; 0 when no memory can be added."""
        return int(self.root.findtext("maxMemory", "0")) // KIB_PER_MB

    @property
    def requires_kvm(self) -> bool:
        """Whether the domain has type kvm."""
        return self.root.get("type") == "kvm"

    @property
    def machine_type(self) -> str:
        """What QEMU emulates; libvirt has replaced an alias, as pc, by what it stood for at the definition."""
        kind = self.root.find("os/type")
        return "" if kind is None else kind.get("machine", "")

    @property
    def emulator(self) -> Optional[str]:
        """Path of the emulator; None when the document does not specify it."""
        return self.root.findtext("devices/emulator")

    @property
    def host_devices(self) -> Tuple[str, ...]:
        """PCI addresses of host devices assigned to the guest, as 0000:03:00.1."""
        places = self.root.findall("devices/hostdev[@type='pci']/source/address")
        places += self.root.findall("devices/interface[@type='hostdev']/source/address")
        return tuple(pci_address(place) for place in places)

    @property
    def interfaces(self) -> Tuple[GuestInterface, ...]:
        """As `interfaces_of`."""
        return interfaces_of(self.root)

    @property
    def connections(self) -> Dict[str, Tuple[bool, Optional[str]]]:
        """MAC address → whether the interface is a macvtap, and the host device or bridge below it."""
        return {one.mac: (one.is_macvtap, one.source) for one in self.interfaces}

    @property
    def is_filtered(self) -> bool:
        """Whether the host must filter the guest's frames and the guest has an interface with a host device."""
        return requires_filter(self.root) and bool(self.interfaces)

    @property
    def senders(self) -> Dict[str, SenderLimits]:
        """As `senders_of`."""
        return senders_of(self.root)

    @property
    def console(self) -> ConsoleFact:
        """Addresses of the consoles of a running domain."""
        return console_of(self.root)

    @property
    def disks(self) -> Tuple[str, ...]:
        """The files and devices of its hard disks, in order."""
        disks = (disk for disk in self.root.iterfind("devices/disk") if disk.get("device", "disk") == "disk")
        sources = (disk.find("source") for disk in disks)
        return tuple(
            source.get("file") or source.get("dev") or "" for source in sources if source is not None
        )

    @property
    def listeners(self) -> Tuple[str, ...]:
        """As the function `listeners_of`."""
        return listeners_of(self.root)


def parse_domain(text: str) -> DomainDocument:
    """The document. UserError when it is not well-formed, declares a DTD, or its root is not `domain`."""
    try:
        parser = ElementTree.XMLParser(target=_NoDoctype())
        parser.feed(text)
        root: Element = parser.close()
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(f"the domain XML cannot be read: {error}") from None
    if root.tag != "domain":
        raise UserError(f"the root of the domain XML is {root.tag[:40]!r}, not 'domain'")
    return DomainDocument(text, root)


def emulated(document: DomainDocument) -> DomainDocument:
    """The document for a host without KVM: type `qemu`, and CPU mode `maximum` if it has a `cpu` element.

    libvirt 9.0 rejects the mode host-passthrough for emulated domains, and a model or features that QEMU does not
    emulate. The topology and the NUMA nodes stay.
    """
    root = _copy(document)
    root.set("type", "qemu")
    cpu = root.find("cpu")
    if cpu is not None:
        cpu.attrib.clear()
        cpu.set("mode", "maximum")
        for child in [child for child in cpu if child.tag not in _CPU_SHAPE]:
            cpu.remove(child)
    return _written(root)


def with_emulator(document: DomainDocument, path: str) -> DomainDocument:
    """The document with this emulator, if it has an `emulator` element."""
    root = _copy(document)
    emulator = root.find("devices/emulator")
    if emulator is not None:
        emulator.text = path
    return _written(root)


def with_disk_identities(document: DomainDocument, disks: Iterable[DiskIdentity]) -> DomainDocument:
    """The document with its disks in the lease, if it has one."""
    root = _copy(document)
    lease = root.find(f"metadata/{LEASE}")
    if lease is None:
        return document
    lease.extend(disk.element for disk in disks)
    return _written(root)


def vf_addresses(document: DomainDocument) -> Dict[str, str]:
    """MAC address (lower case) → PCI address of each interface that is a virtual function."""
    return {mac_of(interface): address_of(interface) for interface in vf_interfaces(document.root)}


def with_vf_addresses(document: DomainDocument, addresses: Mapping[str, str]) -> DomainDocument:
    """The document with the PCI addresses (0000:01:10.0) of its virtual functions, by MAC address in lower case.

    An interface whose address the site's XML specifies is not changed. IncoherentError unless `addresses` matches the
    interfaces without address.
    """
    found = vf_addresses(document)
    missing = {mac for mac, address in found.items() if address == NO_ADDRESS or mac in addresses}
    if missing != set(addresses):
        raise IncoherentError(
            f"the XML of {document.name} has virtual functions for {_listed(missing)}, the request for "
            f"{_listed(addresses)}; look at the plugins and filters that change its interfaces (rocks report host vm "
            "config)"
        )
    if not missing:
        return document
    root = _copy(document)
    interfaces = {mac_of(interface): interface for interface in vf_interfaces(root)}
    for mac in missing:
        put_address(interfaces[mac], addresses[mac])
    return _written(root)


class _NoDoctype(ElementTree.TreeBuilder):
    def doctype(self, name: str, pubid: Optional[str], system: Optional[str]) -> None:
        """Called before any entity of the document type is read."""
        raise ValueError("a document type declaration is not allowed")


def _copy(document: DomainDocument) -> Element:
    return ElementTree.fromstring(document.text)


def _written(root: Element) -> DomainDocument:
    return DomainDocument(ElementTree.tostring(root, encoding="unicode"), root)


def _lease_disk(element: Element) -> DiskIdentity:
    number = {name: element.get(name, "") for name in ("device", "inode")}
    device, inode = (int(text) if text.isascii() and text.isdigit() else 0 for text in number.values())
    return DiskIdentity(element.get("path", ""), device, inode, element.get("machine", ""))


def _listed(macs: Iterable[str]) -> str:
    return ", ".join(sorted(macs)) or "none"


_LINES = ("serial", "parallel", "channel", "console", "redirdev", "smartcard", "rng/backend")
_NETWORK = ("tcp", "udp")


def console_of(domain: Element) -> ConsoleFact:
    """Where its consoles are; None for each kind that it does not have."""
    graphics = domain.find("devices/graphics[@type='vnc']")
    log = domain.find("devices/serial[@type='pty']/log")
    return ConsoleFact(
        log_path=None if log is None else log.get("file"),
        vnc_socket=None if graphics is None else _socket(graphics),
    )


def listeners_of(domain: Element) -> Tuple[str, ...]:
    """Its screens and lines that listen on TCP or UDP, as `vnc 127.0.0.1 port 5900`."""
    return tuple(dict.fromkeys((*_screens(domain), *_lines(domain))))


def _screens(domain: Element) -> Iterator[str]:
    for graphics in domain.findall("devices/graphics"):
        for key in ("port", "tlsPort"):
            port = _port(graphics, key)
            if port is not None and _socket(graphics) is None:
                yield f"{graphics.get('type')} {_address(graphics) or 'any address'} port {port}"


def _lines(domain: Element) -> Iterator[str]:
    for kind in _LINES:
        for line in domain.findall(f"devices/{kind}"):
            source = line.find("source[@mode='bind']")
            if line.get("type") in _NETWORK and source is not None:
                yield f"{kind} {source.get('host') or 'any address'} port {source.get('service')}"


def _socket(graphics: Element) -> Optional[str]:
    listen = graphics.find("listen[@type='socket']")
    return graphics.get("socket") if listen is None else listen.get("socket")


def _address(graphics: Element) -> Optional[str]:
    listen = graphics.find("listen[@type='address']")
    return graphics.get("listen") if listen is None else listen.get("address")


def _port(graphics: Element, key: str) -> Optional[int]:
    """A port in use; libvirt writes -1 for one that it has not chosen."""
    port = int(graphics.get(key, "-1"))
    return port if port > 0 else None
