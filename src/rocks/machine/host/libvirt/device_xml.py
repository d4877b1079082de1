"""Devices of a domain that runs, as XML of their own, and its lease after a change; pure."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ElementTree
from string import ascii_lowercase
from typing import Iterable, List, Mapping, Optional, Tuple
from xml.etree.ElementTree import Element, SubElement

from rocks.core.errors import IncoherentError, StateError
from rocks.machine.host.libvirt.domain_xml import DISK, DiskIdentity, DomainDocument
from rocks.machine.host.libvirt.interface_xml import LEASE, NETWORK, mac_of

_HOT_BUSES = ("virtio", "scsi")
"""Buses of disks that can be attached to a running guest."""

_SUFFIXES: Tuple[str, ...] = (
    *ascii_lowercase,
    *(one + two for one in ascii_lowercase for two in ascii_lowercase),
)
"""Of the names of disks, in their order: vda, …, vdz, vdaa, …."""


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
