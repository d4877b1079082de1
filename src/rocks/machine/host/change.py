"""Changes of a machine that runs on this host: its CPUs, memory, interfaces and disks."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import Callable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple
from xml.etree.ElementTree import Element

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import BusyError, IncoherentError, RocksError, StateError
from rocks.core.values import BYTES_PER_GB, gigabytes
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.fleet.wire.facts import DiskFact, DomainFact, is_active_domain
from rocks.fleet.wire.requests import RELEASE_SECONDS, ChangeDomain, DiskSpec, GrowDisk
from rocks.machine.host.disks import (
    check_growth,
    check_path,
    ensure_disk,
    grow_image,
    is_same,
    read_disk,
    smaller_image_notes,
)
from rocks.machine.host.facts import memory_reserved, read_machine
from rocks.machine.host.guest_network import ensure_secured, links_locked
from rocks.machine.host.host import Host
from rocks.machine.host.libvirt.device_xml import (
    attachable,
    changed_lease,
    check_hot_bus,
    disk_of,
    interface_of,
    memory_module,
    target_of,
    text_of,
    with_link,
)
from rocks.machine.host.libvirt.domain_xml import DiskIdentity, DomainDocument, vf_interfaces
from rocks.machine.host.libvirt.driver import DomainDriver, is_active
from rocks.machine.host.start import adapted, document_of
from rocks.machine.plans import OperationPlan, check_changeable, check_disk
from rocks.network.host.rules import check_link, is_of_site

# What a host does to bring a running domain to a document, decided from both.
#
# The decision is made as those of `rocks.machine.plans`. What needs a restart becomes a note.

MEMORY_STEP_MB = 128
"""Memory is added in such steps: Linux brings blocks of at least this size online."""


class ChangeFacts(NamedTuple):
    """The domain; its XML, if it is active; the requested XML; the CPUs of the host; the disks to attach, by path."""

    domain: Optional[DomainFact]
    live: Optional[DomainDocument]
    requested: DomainDocument
    cpus: int
    disks: Mapping[str, DiskFact]


class InterfaceChange(NamedTuple):
    """MAC addresses of the interfaces to attach, of those whose link is to go up, and of those to detach.

    `has_other_senders`: whether one that is connected as requested may use other addresses than those requested.
    """

    new: Tuple[str, ...]
    down: Tuple[str, ...]
    surplus: Tuple[str, ...]
    has_other_senders: bool


def plan_change(operation: ChangeDomain, facts: ChangeFacts) -> OperationPlan:
    """The plan of a change: nothing for a machine that is off, which gets its record at its next start.

    StateError when the domain runs under another lease, and for a disk that cannot be attached or detached now.
    """
    name, live, requested = operation.name, facts.live, facts.requested
    if operation.disks and not is_active_domain(facts.domain):
        raise StateError(
            f"{name} holds a lease of {operation.host or 'this host'} but does not run there: rocks stop host vm "
            f"{name}, then repeat the command"
        )
    if live is None:
        return OperationPlan()
    check_changeable(name, facts.domain, operation.token)
    plans: List[OperationPlan] = []
    if operation.cpus:
        plans.append(plan_cpus(live, requested, facts.cpus, operation.host))
    if operation.memory:
        plans.append(plan_memory(live, requested))
    if operation.interfaces:
        plans.append(_plan_interfaces(live, requested))
    steps = tuple(f"detach {path} from {name}" for path in operation.detached if _detaches(live, name, path))
    steps += tuple(_attached(operation, facts, live))
    return OperationPlan(
        tuple(step for plan in plans for step in plan.steps) + steps,
        tuple(note for plan in plans for note in plan.notes),
    )


def plan_cpus(live: DomainDocument, requested: DomainDocument, cpus: int, host: str) -> OperationPlan:
    """Add CPUs up to the domain's maximum; no more than the host has."""
    name, planned = live.name, requested.cpus
    if planned > cpus:
        return _note(
            f"{name} runs on with {live.cpus} CPUs, and does not start again: {planned} are recorded, and "
            f"{host or 'this host'} has {cpus}; rocks set host vm {name} cpus={cpus}"
        )
    if planned == live.cpus:
        return OperationPlan()
    begin = f"{name} gets {planned} CPU{'s' * (planned > 1)} at its next start: "
    if planned < live.cpus:
        return _note(f"{begin}CPUs are not taken from a guest that runs")
    if planned > live.max_cpus:
        return _note(
            f"{begin}it was started with a maximum of {live.max_cpus}; rocks set host vm {name} maxcpus=N sets the "
            "maximum from then on"
        )
    if live.root.find("cputune/vcpupin") is not None:
        return _note(f"{begin}its CPUs are pinned to CPUs of its host")
    return OperationPlan((f"give {name} {planned} CPUs",))


def plan_memory(live: DomainDocument, requested: DomainDocument) -> OperationPlan:
    """Add a memory module with what is missing, up to the domain's maximum."""
    name, memory_mb = live.name, requested.memory_mb
    if memory_mb == live.memory_mb:
        return OperationPlan()
    begin = f"{name} gets {memory_mb} MB of memory at its next start: "
    if memory_mb < live.memory_mb:
        return _note(f"{begin}memory is not taken from a guest that runs")
    if memory_mb > live.max_memory_mb:
        return _note(
            f"{begin}it was started with a maximum of {live.max_memory_mb or live.memory_mb} MB; rocks set host vm "
            f"{name} maxmem=MB sets the maximum from then on"
        )
    if (memory_mb - live.memory_mb) % MEMORY_STEP_MB:
        return _note(
            f"{begin}a guest that runs gets memory in steps of {MEMORY_STEP_MB} MB, and it has {live.memory_mb} MB"
        )
    if live.root.find("memoryBacking/hugepages") is not None or live.root.find("numatune") is not None:
        return _note(f"{begin}it has huge pages, or memory of NUMA nodes of its host")
    if len(live.root.findall("cpu/numa/cell")) > 1:
        return _note(f"{begin}it has several NUMA nodes")
    return OperationPlan((f"give {name} {memory_mb} MB of memory",))


def interface_change(live: DomainDocument, requested: DomainDocument) -> InterfaceChange:
    """What makes the interfaces of the running domain those of `requested`. The link of none goes up elsewhere."""
    present, planned = live.connections, requested.connections
    same = [mac for mac, now in present.items() if planned.get(mac) == now]
    return InterfaceChange(
        new=tuple(mac for mac in planned if mac not in present),
        down=tuple(mac for mac in same if _is_down(live, mac) and not _is_down(requested, mac)),
        surplus=tuple(mac for mac in present if mac not in planned),
        has_other_senders=any(live.senders.get(mac) != requested.senders.get(mac) for mac in same),
    )


def interface_notes(live: DomainDocument, requested: DomainDocument) -> Tuple[str, ...]:
    """What of the requested devices waits for the next start."""
    notes: Tuple[str, ...] = ()
    for mac, now in live.connections.items():
        planned = requested.connections.get(mac, now)
        if planned != now and planned[1]:  # libvirt names the bridge of a plugin's network, which has none
            notes += (
                f"the interface {mac} of {live.name} is on another network than in its record"
                f"{', and its link is down,' if _is_down(live, mac) else ''} until its next start: rocks stop host vm "
                f"{live.name}, then rocks start host vm {live.name}",
            )
    if len(vf_interfaces(live.root)) != len(vf_interfaces(requested.root)):
        notes += (f"the virtual functions of {live.name} change at its next start",)
    missing = [path for path in _writable_disks(requested) if path not in live.disks]
    if missing:
        notes += (
            f"{live.name} gets {', '.join(missing)} at its next start; rocks add host vm disk attaches a disk before",
        )
    return notes


def disk_to_attach(
    operation: ChangeDomain, spec: DiskSpec, live: DomainDocument, requested: DomainDocument
) -> Optional[Element]:
    """The disk as it is attached; None when it is. IncoherentError when the request has it in no document."""
    disk = disk_of(requested, spec.path)
    if disk is None:
        raise IncoherentError(
            f"the XML of {operation.name} has no disk {spec.path}; look at the plugins that change its disks"
        )
    if disk_of(live, spec.path) is not None:
        return None
    check_hot_bus(disk, operation.name, spec.path)
    return attachable(live, disk, operation.name, spec.path)


def _attached(operation: ChangeDomain, facts: ChangeFacts, live: DomainDocument) -> Iterator[str]:
    for spec in operation.disks:
        if disk_to_attach(operation, spec, live, facts.requested) is not None:
            check_disk(operation.name, spec, facts.disks[spec.path], "does not get the disk", None)
            yield f"attach {spec.path} to {operation.name}"


def _detaches(live: DomainDocument, name: str, path: str) -> bool:
    """Whether the guest has the disk, or its lease does."""
    disk = disk_of(live, path)
    if disk is not None:
        check_hot_bus(disk, name, path)
    return disk is not None or any(path == known.path for known in live.disk_identities)


def _plan_interfaces(live: DomainDocument, requested: DomainDocument) -> OperationPlan:
    change = interface_change(live, requested)
    is_filter_set = change.has_other_senders and requested.is_filtered
    steps = (
        *(f"attach the interface {mac} to {live.name}" for mac in change.new),
        *(f"set the link of the interface {mac} of {live.name} up" for mac in change.down),
        *(f"detach the interface {mac} from {live.name}" for mac in change.surplus),
        *((f"set the packet filter of {live.name}",) if is_filter_set else ()),
    )
    return OperationPlan(steps, interface_notes(live, requested))


def _writable_disks(document: DomainDocument) -> Iterator[str]:
    """The disks of the record: the small one for cloud-init is only read."""
    for disk in document.root.iterfind("devices/disk"):
        source = disk.find("source")
        if source is not None and disk.get("device", "disk") == "disk" and disk.find("readonly") is None:
            yield source.get("file") or source.get("dev") or ""


def _is_down(document: DomainDocument, mac: str) -> bool:
    link = interface_of(document, mac).find("link")
    return link is not None and link.get("state") == "down"


def _note(text: str) -> OperationPlan:
    return OperationPlan(notes=(text,))


# Change a domain that runs: CPUs, memory, disks, interfaces. What needs a restart becomes a note, not an error.
#
# The caller has planned it, and holds the machine's lock.

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
