"""The XML of a running domain that moves to another host: what must be the same there, and what differs; pure."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ElementTree
from typing import Iterable, List, Optional, Tuple
from xml.etree.ElementTree import Element, SubElement

from rocks.core.errors import StateError
from rocks.machine.host.libvirt.domain_xml import DISK, DiskIdentity, DomainDocument
from rocks.machine.host.libvirt.interface_xml import LEASE, NETWORK, mac_of

_OF_HOST = ("host-passthrough", "maximum")
_LIBVIRT_FOLDER = "/var/lib/libvirt/qemu/"
_REACH_HOST = ("filesystem", "shmem", "smartcard", "tpm", "redirdev", "vsock", "parallel")


def host_cpu_of(capabilities: str) -> str:
    """The CPU element of libvirt's capabilities of a host, without its shape and its microcode; else empty."""
    cpu = ElementTree.fromstring(capabilities).find("host/cpu")
    if cpu is None:
        return ""
    found = Element("cpu")
    features = sorted(feature.get("name", "") for feature in cpu.iterfind("feature"))
    for tag in ("arch", "model", "vendor"):
        SubElement(found, tag).text = cpu.findtext(tag, "")
    for name in features:
        SubElement(found, "feature", {"name": name})
    return ElementTree.tostring(found, encoding="unicode")


def check_as_recorded(document: DomainDocument, start: DomainDocument) -> None:
    """StateError for what gives the domain access to its new host, and `start` does not have, its XML at a start there.

    Each disk is one of `start`, by target and path, and a raw image or device without others below it.
    """
    name, root = document.name, document.root
    if (
        root.find("devices/hostdev") is not None
        or root.find("devices/interface[@type='hostdev']") is not None
    ):
        raise cannot(name, "it has a device of its host")
    known = {_place(disk) for disk in start.root.iterfind("devices/disk")}
    for disk in root.iterfind("devices/disk"):
        target, path = _place(disk)
        if disk.find("source") is not None and (not path or (target, path) not in known):
            raise cannot(
                name, f"its disk {target} ({path or disk.get('type')}) is none that it has at its next start"
            )
        below = disk.find("backingStore")
        if _format(disk) != "raw" or (below is not None and len(below)):
            raise cannot(name, f"its disk {target} is no raw image without others below it")
    planned = {_text(element) for element in start.root if element.tag.startswith("{")}
    for element in root:
        if element.tag.startswith("{") and _text(element) not in planned:
            tag = element.tag.rpartition("}")[2]
            raise cannot(
                name, f"its XML has {tag} for its QEMU, and that of its next start does not, or another one"
            )
    for tag in _REACH_HOST:
        if root.find(f"devices/{tag}") is not None and start.root.find(f"devices/{tag}") is None:
            raise cannot(name, f"it has the device {tag}, which it does not have at its next start")


def _place(disk: Element) -> Tuple[str, str]:
    """Target and path of a disk; an empty path for none, and for what is no file or device."""
    source, target = disk.find("source"), disk.find("target")
    attribute = {"file": "file", "block": "dev"}.get(disk.get("type", ""), "")
    path = "" if source is None else source.get(attribute, "")
    return "" if target is None else target.get("dev", ""), path


def _format(disk: Element) -> str:
    driver = disk.find("driver")
    return "raw" if driver is None else driver.get("type", "raw")


def _text(element: Element) -> str:
    return ElementTree.canonicalize(ElementTree.tostring(element, encoding="unicode"), strip_text=True)


def check_can_move(document: DomainDocument, paths: Iterable[str], images: Iterable[str] = ()) -> None:
    """StateError for a domain that has what stays on its host.

    `paths` are the disks that are copied, `images` the devices of its images on a NAS.
    """
    name, root, copied, on_nas = document.name, document.root, set(paths), set(images)
    if document.host_devices:
        raise cannot(name, f"it has the device {document.host_devices[0]} of its host")
    if root.find("os/nvram") is not None:
        raise cannot(name, "the variables of its UEFI firmware are a file of its host")
    for disk in root.iterfind("devices/disk"):
        source, kind = disk.find("source"), _format(disk)
        path = "" if source is None else source.get("file") or source.get("dev") or ""
        is_read_only = disk.get("device") in ("cdrom", "floppy") or disk.find("readonly") is not None
        if path in copied and (source is None or source.get("file") is None or kind != "raw"):
            raise cannot(name, f"its disk {path} is no raw image file, but of type {kind}")
        if path in on_nas and (source is None or source.get("dev") is None or kind != "raw"):
            raise cannot(name, f"its disk {path} is no device of an image, but of type {kind}")
        if path and path not in copied | on_nas and not is_read_only:
            raise cannot(name, f"it runs with the disk {path}, which its record does not have")
    for path in (copied | on_nas) - set(document.disks):
        raise cannot(name, f"it runs without the disk {path} until its next start")


def cannot(name: str, why: str) -> StateError:
    """The error of a machine that cannot move while it runs."""
    return StateError(f"{name} does not move while it runs: {why}; stop it, and move it without live=yes")


def needs_same_host_cpu(document: DomainDocument) -> bool:
    """Whether the guest has the CPU of its host as it is."""
    cpu = document.root.find("cpu")
    return document.requires_kvm and cpu is not None and cpu.get("mode") in _OF_HOST


def cpu_of(document: DomainDocument) -> Optional[str]:
    """The named CPU model of the guest as XML; None when it has none, or that of its host."""
    cpu = document.root.find("cpu")
    if cpu is None or cpu.find("model") is None or cpu.get("mode") in _OF_HOST:
        return None
    return ElementTree.tostring(cpu, encoding="unicode")


def targets_of(document: DomainDocument, paths: Iterable[str]) -> List[Tuple[str, str]]:
    """(`vda`, path) of each of these disks, in the order of the document."""
    named, found = set(paths), []
    for disk in document.root.iterfind("devices/disk"):
        target, path = _place(disk)
        if target and path in named:
            found.append((target, path))
    return found


def arriving(
    document: DomainDocument, there: DomainDocument, identities: Iterable[DiskIdentity], emulator: str
) -> str:
    """The XML on the new host: interfaces are connected and filtered as in `there`, the disks in the lease are these.

    StateError when an interface is connected in another manner there.
    """
    root = copy.deepcopy(document.root)
    planned = {mac_of(interface): interface for interface in there.root.iterfind("devices/interface")}
    for interface in root.iterfind("devices/interface"):
        found = planned.get(mac_of(interface))
        if found is None or found.get("type") != interface.get("type"):
            raise cannot(
                document.name,
                f"its interface {mac_of(interface)} is not of the type {interface.get('type')} on the new host",
            )
        _replace(interface, found)
    for graphics in root.iterfind("devices/graphics"):
        for element in (graphics, *graphics.iterfind("listen")):
            if element.get("socket", "").startswith(_LIBVIRT_FOLDER):
                del element.attrib["socket"]
    program = root.find("devices/emulator")
    if program is not None:
        program.text = emulator
    lease = root.find(f"metadata/{LEASE}")
    if lease is not None:
        lease[:] = [child for child in lease if child.tag not in (DISK, NETWORK)]
        lease.extend(disk.element for disk in identities)
        lease.extend(there.root.iterfind(f"metadata/{LEASE}/{NETWORK}"))
    return ElementTree.tostring(root, encoding="unicode")


def _replace(interface: Element, planned: Element) -> None:
    """Give the interface the source of the planned one; libvirt names the device above it."""
    old, new, target = interface.find("source"), planned.find("source"), interface.find("target")
    place = 0 if old is None else list(interface).index(old)
    if old is not None:
        interface.remove(old)
    if new is not None:
        interface.insert(place, copy.deepcopy(new))
    if target is not None:
        interface.remove(target)
