"""Changes of a machine that runs on this host: its CPUs, memory, interfaces and disks."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import List

from rocks.core.errors import RocksError
from rocks.core.units import BYTES_PER_GB
from rocks.fleet.host.change import UNCHANGED, Change
from rocks.fleet.wire.domain_states import is_active_domain
from rocks.fleet.wire.requests import ChangeDomain, DiskSpec, GrowDisk
from rocks.machine.host.disks import check_path, ensure_disk, is_same, read_disk
from rocks.machine.host.files.growth import grow_image, smaller_image_notes
from rocks.machine.host.guest_links import ensure_secured, links_locked
from rocks.machine.host.host import Host
from rocks.machine.host.host_facts import read_machine
from rocks.machine.host.libvirt.change import (
    add_memory,
    attach_disk,
    detach_disk,
    ensure_cpus,
    ensure_grown,
    ensure_interfaces,
    joined,
)
from rocks.machine.host.libvirt.change_plan import ChangeFacts, disk_to_attach, plan_memory
from rocks.machine.host.libvirt.device_xml import disk_of
from rocks.machine.host.libvirt.domain_xml import DiskIdentity, DomainDocument
from rocks.machine.host.libvirt.driver import is_active
from rocks.machine.host.memory_promises import memory_reserved
from rocks.machine.host.start import adapted, document_of
from rocks.network.host.rules import check_link, is_of_site


def change_facts(host: Host, operation: ChangeDomain) -> ChangeFacts:
    """What decides about a change. UserError or IncoherentError for an invalid request."""
    for disk in operation.disks:
        check_path(disk.path)
    for link in operation.links:
        check_link(link)
    domain = host.domains().find(operation.name)
    return ChangeFacts(
        domain,
        host.domains().document(operation.name) if is_active_domain(domain) else None,
        adapted(host, document_of(operation))[0],
        read_machine().cpus,
        {disk.path: read_disk(disk.path) for disk in operation.disks},
    )


def change_domain(host: Host, operation: ChangeDomain) -> Change:
    """Change the running domain in this order: CPUs, memory, interfaces, detached disks, attached disks.

    The caller has planned it, and holds the machine's lock. An error ends it; what was changed before stays, and the
    same request again does the rest.
    """
    domains, name = host.domains(), operation.name
    _, live, requested, cpus, _ = change_facts(host, operation)
    if live is None:
        return UNCHANGED
    changes: List[Change] = []
    if operation.cpus:
        changes.append(ensure_cpus(domains, live, requested, cpus, operation.host))
    if operation.memory:
        changes.append(_ensure_memory(host, operation, live, requested))
    if operation.interfaces:
        changes.append(_ensure_interfaces(host, operation, live, requested))
    changes += [detach_disk(domains, name, path) for path in operation.detached]
    changes += [_attach(host, operation, disk, requested) for disk in operation.disks]
    return joined(changes)


def _ensure_memory(
    host: Host, operation: ChangeDomain, live: DomainDocument, requested: DomainDocument
) -> Change:
    plan, reserve_mb = plan_memory(live, requested), operation.memory_reserve_mb
    if not plan.steps:
        return Change(False, plan.notes)
    if reserve_mb is None:
        return add_memory(host.domains(), live, requested)
    with memory_reserved(host, operation.name, requested.memory_mb, reserve_mb, "does not get its memory"):
        return add_memory(host.domains(), live, requested)


def _ensure_interfaces(
    host: Host, operation: ChangeDomain, live: DomainDocument, requested: DomainDocument
) -> Change:
    planned = tuple(link for link in operation.links if not is_of_site(link))
    before = host.stored_links.recall(operation.name)
    notes: "tuple[str, ...]" = ()
    with links_locked(host, operation.links, shared=True):
        host.stored_links.remember(
            operation.name, tuple({link.device: link for link in (*before, *planned)}.values())
        )
        for link in operation.links:
            notes += host.links().ensure(link).notes
        change = ensure_interfaces(host.domains(), live, requested, partial(ensure_secured, host))
    host.stored_links.remember(operation.name, planned)
    unneeded = [link for link in before if link not in planned]
    with links_locked(host, unneeded, shared=False):
        for link in unneeded:
            host.links().remove_if_unused(link)
    return Change(change.changed, notes + change.notes)


def _attach(host: Host, operation: ChangeDomain, spec: DiskSpec, requested: DomainDocument) -> Change:
    name, disk = operation.name, disk_of(requested, spec.path)
    if disk is None or disk_to_attach(operation, spec, host.domains().document(name), requested) is None:
        return UNCHANGED
    made, identity = ensure_disk(spec, host.image_owners)
    notes = () if made.changed else smaller_image_notes(name, spec)
    try:
        attached = attach_disk(
            host.domains(), name, disk, spec.path, identity, lambda: is_same(identity, host.image_owners)
        )
        return Change(attached.changed, attached.notes + notes)
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
    """Grow an image, or notify the guest of a device that has grown. The caller has planned it, and holds the lock."""
    name, disk, domains = operation.name, operation.disk, host.domains()
    if not is_active(domains, name):
        return grow_image(disk, host.image_owners)
    size_bytes = read_disk(disk.path).size_bytes if disk.is_block else disk.size_gb * BYTES_PER_GB
    return ensure_grown(domains, name, disk.path, size_bytes)
