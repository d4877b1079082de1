"""What a host does to bring a running domain to a document, decided from both. Pure.

The decision is made as those of `rocks.machine.plans`. What needs a restart becomes a note.
"""

from __future__ import annotations

from typing import Iterator, List, Mapping, NamedTuple, Optional, Tuple
from xml.etree.ElementTree import Element

from rocks.core.errors import IncoherentError, StateError
from rocks.fleet.wire.domain_states import is_active_domain
from rocks.fleet.wire.facts import DiskFact, DomainFact
from rocks.fleet.wire.requests import ChangeDomain, DiskSpec
from rocks.machine.host.libvirt.device_xml import attachable, check_hot_bus, disk_of, interface_of
from rocks.machine.host.libvirt.domain_xml import DomainDocument
from rocks.machine.host.libvirt.interface_xml import vf_interfaces
from rocks.machine.plans import OperationPlan, check_changeable, check_disk

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


def plan_cpus(live: DomainDocument, requested: DomainDocument, cpus: int, host: str = "") -> OperationPlan:
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
