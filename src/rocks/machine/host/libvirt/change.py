"""Change a domain that runs: CPUs, memory, disks, interfaces. What needs a restart becomes a note, not an error.

The caller has planned it (`change_plan`), and holds the machine's lock.
"""

from __future__ import annotations

import contextlib
from typing import Callable, Sequence
from xml.etree.ElementTree import Element

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import BusyError, RocksError, StateError
from rocks.core.units import gigabytes
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.fleet.wire.requests import RELEASE_SECONDS
from rocks.machine.host.files.growth import check_growth
from rocks.machine.host.libvirt.change_plan import interface_change, interface_notes, plan_cpus
from rocks.machine.host.libvirt.device_xml import (
    attachable,
    changed_lease,
    disk_of,
    interface_of,
    memory_module,
    target_of,
    text_of,
    with_link,
)
from rocks.machine.host.libvirt.domain_xml import DiskIdentity, DomainDocument
from rocks.machine.host.libvirt.driver import DomainDriver

_POLL_SECONDS = 0.2


def ensure_cpus(
    domains: DomainDriver, live: DomainDocument, requested: DomainDocument, cpus: int, host: str = ""
) -> Change:
    """Add CPUs as planned, on a host with so many."""
    plan = plan_cpus(live, requested, cpus, host)
    if not plan.steps:
        return Change(False, plan.notes)
    domains.set_cpus(live.name, requested.cpus)
    return Change(True, (f"{live.name} has {requested.cpus} CPUs now",))


def add_memory(domains: DomainDriver, live: DomainDocument, requested: DomainDocument) -> Change:
    """Add a memory module with what is missing. The caller has planned it."""
    domains.attach(live.name, memory_module(requested.memory_mb - live.memory_mb))
    return Change(True, (f"{live.name} has {requested.memory_mb} MB of memory now",))


def attach_disk(
    domains: DomainDriver,
    name: str,
    disk: Element,
    path: str,
    identity: DiskIdentity,
    is_same: Callable[[], bool],
) -> Change:
    """Attach a disk, whose identity becomes part of the lease before; on an error both are as before.

    `is_same`: whether the path still leads to what was checked.
    """
    live = domains.document(name)
    if disk_of(live, path) is not None:
        return UNCHANGED
    made = attachable(live, disk, name, path)
    domains.set_lease(name, changed_lease(live, added=[identity]))
    try:
        domains.attach(name, text_of(made))
        if not is_same():
            domains.detach(name, text_of(made))
            raise StateError(f"the disk {path} of {name} was replaced while it was attached; try again")
    except RocksError:
        with contextlib.suppress(RocksError):  # the first error is the one to report
            domains.set_lease(name, changed_lease(live))
        raise
    device, planned = target_of(made), target_of(disk)
    if device == planned:
        return Change(True, (f"{path} is attached to {name} as {device}",))
    return Change(True, (f"{path} is attached to {name} as {device}; at its next start it is {planned}",))


def detach_disk(domains: DomainDriver, name: str, path: str) -> Change:
    """Detach a disk when the guest has released it, and remove it from the lease. BusyError when the guest does not."""
    live = domains.document(name)
    disk = disk_of(live, path)
    if disk is not None:
        # before: a guest that is slow releases it when nobody waits
        domains.forget_device(name, text_of(disk))
        domains.detach(name, text_of(disk))
        _wait_until(
            lambda: disk_of(domains.document(name), path) is None,
            f"{name} has not released its disk {path} after {RELEASE_SECONDS:.0f} s: unmount it in the guest, then "
            "repeat the command, which also completes the removal of a disk that is released later, as by a guest that "
            "boots; one that does not know hot plug cannot release it",
        )
    if all(path != known.path for known in live.disk_identities):
        return UNCHANGED if disk is None else CHANGED
    domains.set_lease(name, changed_lease(domains.document(name), removed=[path]))
    return CHANGED


def ensure_interfaces(
    domains: DomainDriver,
    live: DomainDocument,
    requested: DomainDocument,
    secure: Callable[[DomainDocument], Change],
) -> Change:
    """Attach and detach interfaces until the domain has those of `requested`.

    The link of a new interface is down until `secure` has set its packet filter, that of a surplus one from now on.
    """
    name = live.name
    new, down, surplus, has_other_senders = interface_change(live, requested)
    notes = list(interface_notes(live, requested))
    for mac in surplus:  # the guest may keep it, and its addresses may be another machine's
        domains.update(name, with_link(interface_of(live, mac), "down"))
    if new or down or surplus or has_other_senders:
        domains.set_lease(name, changed_lease(live, network=requested))
    for mac in new:
        domains.attach(name, with_link(interface_of(requested, mac), "down"))
        notes.append(f"the interface {mac} is attached to {name}")
    down = interface_change(domains.document(name), requested).down
    secured = secure(domains.document(name)).changed
    if secured and not (new or down):
        notes.append(f"the packet filter of {name} is set anew")
    for mac in down:
        domains.update(name, with_link(interface_of(domains.document(name), mac), "up"))
    for mac in surplus:
        interface = text_of(interface_of(live, mac))
        domains.forget_device(name, interface)
        domains.detach(name, interface)
        _wait_until(
            lambda gone=mac: gone not in interface_change(domains.document(name), requested).surplus,  # type: ignore[misc]
            f"{name} has not released its interface {mac} after {RELEASE_SECONDS:.0f} s, and its link is down; repeat "
            "the command. A guest that boots, or does not know hot plug, cannot release it",
        )
        domains.set_lease(name, changed_lease(domains.document(name), network=requested))
        notes.append(f"the interface {mac} is detached from {name}")
    return Change(bool(new or down or surplus or secured), tuple(notes))


def ensure_grown(domains: DomainDriver, name: str, path: str, size_bytes: int) -> Change:
    """Grow a disk of a running domain and notify its guest. StateError for a smaller size."""
    present = domains.disk_bytes(name, path)
    if present == size_bytes:
        return UNCHANGED
    check_growth(path, present, size_bytes)
    domains.resize_disk(name, path, size_bytes)
    return Change(True, (f"{name} has {path} with {gigabytes(size_bytes)} now",))


def _wait_until(is_done: Callable[[], bool], message: str) -> None:
    deadline = Deadline(RELEASE_SECONDS)
    while not is_done():
        if deadline.passed():
            raise BusyError(message)
        wait_seconds(_POLL_SECONDS)


def joined(changes: Sequence[Change]) -> Change:
    """Several changes as one."""
    return Change(any(one.changed for one in changes), tuple(note for one in changes for note in one.notes))
