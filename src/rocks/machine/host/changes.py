"""Changes of a machine that runs on this host: its CPUs, memory, interfaces and disks."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Callable, List

from rocks.core.errors import IncoherentError, RocksError, StateError
from rocks.core.units import BYTES_PER_GB, gigabytes
from rocks.fleet.host.change import UNCHANGED, Change
from rocks.fleet.wire.requests import ChangeDomain, DiskSpec, GrowDisk
from rocks.machine.host.disks import DiskIdentity, check_path, ensure_disk, is_same, read_disk
from rocks.machine.host.files.growth import grow_image
from rocks.machine.host.guest_links import links_locked
from rocks.machine.host.host import Host
from rocks.machine.host.libvirt.change import (
    attach_disk,
    detach_disk,
    ensure_cpus,
    ensure_grown,
    ensure_interfaces,
    ensure_memory,
    joined,
    memory_note,
    require_changeable,
)
from rocks.machine.host.libvirt.checks import is_active
from rocks.machine.host.libvirt.device_xml import check_hot_bus, disk_of
from rocks.machine.host.libvirt.domain_xml import DomainDocument
from rocks.machine.host.memory import memory_reserved
from rocks.network.host.rules import check_link, is_of_site

Secure = Callable[[DomainDocument], Change]


def change_domain(host: Host, operation: ChangeDomain, requested: DomainDocument, secure: Secure) -> Change:
    """Change the running domain in this order: CPUs, memory, interfaces, detached disks, attached disks.

    The caller holds the machine's lock, and has checked the document. An error ends it; what was changed before stays,
    and the same request again does the rest. StateError when the domain does not run under the lease.
    """
    for disk in operation.disks:
        check_path(disk.path)
    for link in operation.links:
        check_link(link)
    domains, name = host.domains(), operation.name
    live = require_changeable(domains, name, operation.token)
    changes: List[Change] = []
    if operation.cpus:
        changes.append(ensure_cpus(domains, live, requested))
    if operation.memory:
        changes.append(_ensure_memory(host, operation, live, requested))
    if operation.interfaces:
        changes.append(_ensure_interfaces(host, operation, live, requested, secure))
    changes += [detach_disk(domains, name, path) for path in operation.detached]
    changes += [_attach(host, name, disk, requested) for disk in operation.disks]
    return joined(changes)


def _ensure_memory(
    host: Host, operation: ChangeDomain, live: DomainDocument, requested: DomainDocument
) -> Change:
    if memory_note(live, requested) is not None or operation.memory_reserve_mb is None:
        return ensure_memory(host.domains(), live, requested)
    with memory_reserved(host, operation.name, requested.memory_mb, operation.memory_reserve_mb):
        return ensure_memory(host.domains(), live, requested)


def _ensure_interfaces(
    host: Host, operation: ChangeDomain, live: DomainDocument, requested: DomainDocument, secure: Secure
) -> Change:
    planned = tuple(link for link in operation.links if not is_of_site(link))
    before = host.link_plans.recall(operation.name)
    notes: "tuple[str, ...]" = ()
    with links_locked(host, operation.links, shared=True):
        host.link_plans.remember(
            operation.name, tuple({link.device: link for link in (*before, *planned)}.values())
        )
        for link in operation.links:
            notes += host.links().ensure(link).notes
        change = ensure_interfaces(host.domains(), live, requested, secure)
    host.link_plans.remember(operation.name, planned)
    unneeded = [link for link in before if link not in planned]
    with links_locked(host, unneeded, shared=False):
        for link in unneeded:
            host.links().remove_if_unused(link)
    return Change(change.changed, notes + change.notes)


def _attach(host: Host, name: str, spec: DiskSpec, requested: DomainDocument) -> Change:
    disk = disk_of(requested, spec.path)
    if disk is None:
        raise IncoherentError(
            f"the XML of {name} has no disk {spec.path}; look at the plugins that change its disks"
        )
    if disk_of(host.domains().document(name), spec.path) is not None:
        return UNCHANGED
    check_hot_bus(disk, name, spec.path)
    made, identity = ensure_disk(spec, host.image_owners)
    try:
        return attach_disk(
            host.domains(), name, disk, spec.path, identity, lambda: is_same(identity, host.image_owners)
        )
    except RocksError:
        if made.changed and not spec.is_block:
            _remove_made(host, spec, identity)
        raise


def _remove_made(host: Host, spec: DiskSpec, identity: DiskIdentity) -> None:
    """Remove the image that was made for a disk which was not attached; it is empty."""
    if is_same(identity, host.image_owners) and _is_nobodys(host, spec.path):
        with contextlib.suppress(OSError):
            Path(spec.path).unlink()


def _is_nobodys(host: Host, path: str) -> bool:
    """Whether no domain of this host has the disk."""
    domains = host.domains()
    return all(disk_of(domains.document(fact.name), path) is None for fact in domains.facts())


def grow_disk(host: Host, operation: GrowDisk) -> Change:
    """Grow an image, or notify the guest of a device that has grown. The caller holds the machine's lock."""
    name, disk = operation.name, operation.disk
    check_path(disk.path)
    domains, size_bytes = host.domains(), disk.size_gb * BYTES_PER_GB
    if disk.is_block:
        size_bytes = _size_of_grown_device(disk.path, size_bytes)
    elif not Path(disk.path).exists():
        return Change(False, (f"{disk.path} does not exist yet; it is made with its new size",))
    if not is_active(domains, name):
        found = domains.find(name)
        if found is not None and found.has_managed_save:
            raise StateError(f"{name} is saved on this host, with {disk.path} as it is; restore it first")
        return UNCHANGED if disk.is_block else grow_image(disk, host.image_owners)
    if operation.token is None:
        raise StateError(f"{name} runs on this host without a lease of this site; try again")
    if disk_of(require_changeable(domains, name, operation.token), disk.path) is None:
        return Change(False, (f"{name} runs without {disk.path} until its next start",))
    return ensure_grown(domains, name, disk.path, size_bytes)


def _size_of_grown_device(path: str, requested_bytes: int) -> int:
    present = read_disk(path).size_bytes
    if present < requested_bytes:
        raise StateError(
            f"the device {path} has {gigabytes(present)}, less than {gigabytes(requested_bytes)}: grow it first where "
            "it was made (lvextend, zfs set volsize), then repeat the command"
        )
    return present
