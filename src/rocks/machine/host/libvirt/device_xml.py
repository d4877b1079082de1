"""Devices of a running domain as XML of their own, and the XML of a domain that moves to another host; pure."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ElementTree
from string import ascii_lowercase
from typing import Iterable, List, Mapping, Optional, Tuple
from xml.etree.ElementTree import Element, SubElement

from rocks.core.errors import IncoherentError, StateError
from rocks.machine.host.libvirt.domain_xml import DISK, LEASE, NETWORK, DiskIdentity, DomainDocument, mac_of

# Devices of a domain that runs, as XML of their own, and its lease after a change.

_HOT_BUSES = ("virtio", "scsi")
"""Buses of disks that can be attached to a running guest."""

_SUFFIXES: Tuple[str, ...] = (
    *ascii_lowercase,
    *(one + two for one in ascii_lowercase for two in ascii_lowercase),
)
"""The suffixes of names of disks, in their order: vda, …, vdz, vdaa, …."""


def disk_of(document: DomainDocument, path: str) -> Optional[Element]:
    """The disk with this file or device; None when there is none."""
    for disk in document.root.iterfind("devices/disk"):
        source = disk.find("source")
        if source is not None and path in (source.get("file"), source.get("dev")):
            return disk
    return None


def interface_of(document: DomainDocument, mac: str) -> Element:
    """The interface with this MAC address. IncoherentError when there is none."""
    for interface in document.root.iterfind("devices/interface"):
        if mac_of(interface) == mac:
            return interface
    raise IncoherentError(f"the XML of {document.name} has no interface {mac}; please report this")


def target_of(disk: Element, attribute: str = "dev") -> str:
    """The name of a disk in the domain, as vdb; or its bus."""
    target = disk.find("target")
    return "" if target is None else target.get(attribute, "")


def check_hot_bus(disk: Element, name: str, path: str) -> None:
    """StateError when the bus of a disk takes no change while the guest runs."""
    bus = target_of(disk, "bus")
    if bus not in _HOT_BUSES:
        raise StateError(
            f"the disk {path} is on the bus {bus}, which cannot change while {name} runs: stop {name} first, or give "
            "the disk the bus virtio"
        )


def attachable(live: DomainDocument, disk: Element, name: str, path: str) -> Element:
    """The disk with a name that the running domain has not given to another one. Errors as of `_check_order`."""
    _check_order(live, disk, name, path)
    taken = {target_of(other) for other in live.root.iterfind("devices/disk")}
    device = target_of(disk)
    made = copy.deepcopy(disk)
    if device in taken:
        target = made.find("target")
        assert target is not None
        target.set("dev", _free(device, taken))
    return made


def _check_order(live: DomainDocument, disk: Element, name: str, path: str) -> None:
    """StateError when the guest would name a disk of virtio otherwise, now or from the next start.

    Linux gives it the first name that no other has, and at a start the names in the order of ours. After a disk was
    removed, both the first free name and the one after the last are right: the guest was started since, or not.
    """
    device = target_of(disk)
    taken = {_suffix(target_of(other)) for other in live.root.iterfind("devices/disk") if _is_virtio(other)}
    if not _is_virtio(disk) or _suffix(device) in taken:
        return
    first = next(suffix for suffix in _SUFFIXES if suffix not in taken)
    last = max((_SUFFIXES.index(suffix) for suffix in taken if suffix in _SUFFIXES), default=-1)
    if _suffix(device) not in (first, *_SUFFIXES[last + 1 : last + 2]):
        raise StateError(
            f"the disk {path} is not attached to {name} as {device}: the guest would name it vd{first}, since it names "
            f"disks on the bus virtio in their order; give it the device vd{first}"
        )


def _is_virtio(disk: Element) -> bool:
    return target_of(disk, "bus") == "virtio"


def _suffix(device: str) -> str:
    return device[len(_series(device)) :]


def _series(device: str) -> str:
    return device[: 3 if device.startswith("xvd") else 2]


def _free(device: str, taken: Iterable[str]) -> str:
    series = _series(device)
    for suffix in _SUFFIXES:
        if series + suffix not in taken:
            return series + suffix
    raise StateError(f"all names of disks like {device} are taken")


def memory_module(size_mb: int) -> str:
    """A memory module for the guest's first NUMA node."""
    memory = Element("memory", {"model": "dimm"})
    target = SubElement(memory, "target")
    SubElement(target, "size", {"unit": "MiB"}).text = str(size_mb)
    SubElement(target, "node").text = "0"
    return text_of(memory)


def with_link(interface: Element, state: str) -> str:
    """The interface with its link up or down; libvirt finds it by its MAC address.

    Its place in the running machine is not in it: the definition may have it elsewhere, since a device that the guest
    has not released yet keeps its place only in the running machine.
    """
    made = copy.deepcopy(interface)
    for old in [part for part in made if part.tag in ("link", "address", "alias")]:
        made.remove(old)
    SubElement(made, "link", {"state": state})
    return text_of(made)


def backup_xml(files: Mapping[str, Tuple[str, str]], others: Iterable[str]) -> str:
    """A backup job (libvirt: Backup XML format): disk → (new file, its format); the other disks are not copied."""
    backup = Element("domainbackup")
    disks = SubElement(backup, "disks")
    for device, (path, form) in files.items():
        disk = SubElement(disks, "disk", {"name": device, "type": "file", "backup": "yes"})
        SubElement(disk, "target", {"file": path})
        SubElement(disk, "driver", {"type": form})
    for device in others:
        SubElement(disks, "disk", {"name": device, "backup": "no"})
    return text_of(backup)


def text_of(element: Element) -> str:
    """The element as text."""
    return ElementTree.tostring(element, encoding="unicode")


def changed_lease(
    live: DomainDocument,
    network: Optional[DomainDocument] = None,
    added: Iterable[DiskIdentity] = (),
    removed: Iterable[str] = (),
    token: Optional[int] = None,
) -> str:
    """The lease of the running domain with other disks, and with the packet filters of `network` if that is given.

    With `token` it is a new lease. The root has no namespace, since libvirt gives it one; its children have their own.
    """
    lease = _lease(live)
    added = tuple(added)
    gone = set(removed) | {disk.path for disk in added}
    children = [child for child in lease if child.tag not in (DISK, NETWORK)]
    children += [child for child in lease if child.tag == DISK and child.get("path") not in gone]
    children += [disk.element for disk in added]
    children += _filters(live, network or live)
    renewed = {} if token is None else {"token": str(token)}
    root = Element("lease", {**lease.attrib, **renewed})
    inner = "".join(text_of(child) for child in children)
    return text_of(root).replace(" />", f">{inner}</lease>") if inner else text_of(root)


def _filters(live: DomainDocument, planned: DomainDocument) -> List[Element]:
    """The packet filters of `planned`; an interface that is not there, or is connected otherwise, keeps its own."""
    own = [mac for mac, now in live.connections.items() if planned.connections.get(mac) != now]
    filters = copy.deepcopy(_lease(planned).findall(NETWORK))
    for network in filters:
        senders = [one for one in _lease(live).iterfind(f"{NETWORK}/*") if one.get("mac", "").lower() in own]
        network[:] = [one for one in network if one.get("mac", "").lower() not in own] + senders
    return filters


def _lease(document: DomainDocument) -> Element:
    lease = document.root.find(f"metadata/{LEASE}")
    if lease is None:
        raise StateError(
            f"{document.name} was not started by this system, which therefore does not change it; to end it: virsh "
            f"destroy {document.name} on its host, then rocks start host vm {document.name}"
        )
    return lease


# The XML of a running domain that moves to another host: what must be the same there, and what differs.

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
