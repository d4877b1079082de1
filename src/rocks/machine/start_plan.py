"""Plan the start of a virtual machine on its host, or reject it, from records and facts. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rocks.core.errors import BusyError, StateError, UserError
from rocks.core.names import printable
from rocks.core.units import BYTES_PER_GB, BYTES_PER_GIB, gigabytes
from rocks.core.values import read_number
from rocks.fleet.wire.requests import DiskSpec, LinkSpec
from rocks.inventory.attributes.known import KNOWN
from rocks.inventory.disks.places import medium_of, place_disk
from rocks.library.guest_media import boots_from_network, medium_name
from rocks.network.filter_plan import FilterPlan, plan_filter, unfiltered_note
from rocks.network.guest_connections import Bridged, Direct, Tap, Unconnected, VirtualFunction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.fleet.wire.facts import DiskFact, DomainFact, HostFacts
    from rocks.fleet.wire.requests import AssumedState, DiskFormat
    from rocks.inventory.records import Disk, Host, Lease, VirtualMachine
    from rocks.network.guest_connections import Connection

ACTIVE_STATES = ("running", "blocked", "paused", "shutdown", "crashed")
"""States in which a domain holds memory and may write to its disks."""

LEAST_FREE_BYTES = BYTES_PER_GIB
"""The least free space in the file system of an image: with less, the guest would soon stop with a write error."""

LOCAL_TRANSPORT = "local"
_FORMATS: dict[str, DiskFormat] = {"qcow2": "qcow2", "qed": "qed"}


@dataclass(frozen=True)
class StartPlan:
    """The disks and links that a host makes before the domain starts, and the state of the domain in the facts."""

    disks: tuple[DiskSpec, ...]
    links: tuple[LinkSpec, ...]
    autostart: bool
    assumed_state: AssumedState
    notes: tuple[str, ...] = ()
    network: FilterPlan = FilterPlan(is_on=False)


class AlreadyRunningError(StateError):
    """The machine already runs under its own lease, as recorded: an error by name, but not for a whole cluster."""


@dataclass(frozen=True)
class AlreadyStarted:
    """An earlier start under the same lease was interrupted after the domain began to run: only record it."""

    notes: tuple[str, ...] = ()


def container_of(vm: VirtualMachine) -> Host:
    """The container of `vm`. StateError when it has none, or one that does not run virtual machines."""
    if vm.container is None:
        raise StateError(
            f"host {vm.name} does not have a physical host; give it one: rocks set host vm {vm.name} physnode=HOST"
        )
    if not vm.container.is_true("kvm"):
        raise StateError(
            f"{vm.name} is not started: its physical host {vm.container.name} is not a VM container; "
            f"move it (rocks set host vm {vm.name} physnode=HOST) or set the attribute kvm of "
            f"{vm.container.name} to true"
        )
    return vm.container


def plan_start(
    vm: VirtualMachine,
    connections: Sequence[Connection],
    facts: HostFacts,
    lease_token: int,
    promised_memory_mb: int,
    neighbours: Mapping[int, Sequence[str]],
    was_cut_off: bool = False,
    is_saved: bool = False,
) -> StartPlan | AlreadyStarted:
    """The plan for one machine. StateError or BusyError, with the remedy, when it cannot start.

    `promised_memory_mb` is the memory of machines earlier in the same command on this host; `neighbours` maps a VLAN
    id to all hosts on which machines of that VLAN are placed. `was_cut_off`: an earlier start under this lease was
    interrupted, so its paused domain has not been resumed yet. `is_saved`: the domain continues from its saved memory.
    """
    container = container_of(vm)
    domain = next((domain for domain in facts.domains if domain.name.lower() == vm.name.lower()), None)
    notes = tuple(
        f"{c.device} of {vm.name} is not connected: {c.reason}"
        for c in connections
        if isinstance(c, Unconnected)
    )
    notes += _boot_note(vm)
    if domain is not None and domain.state in ("running", "blocked"):
        if domain.token == lease_token:
            return AlreadyStarted((f"{vm.name} was already started by a command that was interrupted",))
        raise StateError(f"The host {vm.name} is already running.")
    if is_saved:
        _check_saved(vm, domain, lease_token)
    elif not (
        was_cut_off and domain is not None and domain.state == "paused" and domain.token == lease_token
    ):
        _check_domain(vm, domain)
    network = plan_filter(vm, connections)
    _check_filter(vm, container, network, facts)
    _check_size(vm, container, facts, promised_memory_mb)
    _check_vfs(vm, container, connections)
    return StartPlan(
        disks=(
            # of an image of a NAS that a saved machine has, the host reports why it is not there
            *(
                plan_disk(vm, container, disk, facts.disks)
                for disk in vm.disks
                if not (is_saved and disk.is_mapped)
            ),
            *medium_of(vm, container),
        ),
        links=_links(vm, container, connections, facts, neighbours),
        autostart=vm.host.attribute("kvm_autostart") == "true",
        # libvirt on the host compares names with case
        assumed_state="absent" if domain is None or domain.name != vm.name else domain.state,
        notes=(*notes, unfiltered_note(vm)) if network.lets_all_through else notes,
        network=network,
    )


def _boot_note(vm: VirtualMachine) -> tuple[str, ...]:
    if vm.disks or vm.cdrom_path or medium_name(vm) or boots_from_network(vm):
        return ()
    return (
        f"{vm.name} has no disk, no CD in its drive and no boot from the network, so nothing boots. To give it a disk: "
        f"rocks stop host vm {vm.name}, then rocks set host vm {vm.name} disk=TYPE:PATH,DEVICE,BUS",
    )


def plan_disk(vm: VirtualMachine, container: Host, disk: Disk, facts: Sequence[DiskFact]) -> DiskSpec:
    """The disk as its host makes or checks it. StateError for a place where no disk may be, or without space."""
    place_disk(
        vm, container, disk, DiskSpec(disk.path, "raw", 0, disk.is_block)
    )  # before anything else is reported
    return place_disk(vm, container, disk, _check_disk(vm, disk, facts))


def is_active(facts: HostFacts, name: str) -> bool:
    """Whether a domain of that name uses memory on the host, and so may write to its disks."""
    return any(d.name.lower() == name.lower() and d.state in ACTIVE_STATES for d in facts.domains)


def saved_domain(facts: HostFacts, lease: Lease) -> DomainFact | None:
    """The domain that is saved on the host under this lease; None when there is none."""
    for domain in facts.domains:
        if domain.name.lower() == lease.name.lower() and domain.has_managed_save:
            return domain if domain.token == lease.token and domain.state not in ACTIVE_STATES else None
    return None


def active_memory_mb(facts: HostFacts, but: str = "") -> int:
    """The memory of all active domains of the host, except the domain `but`, in MB."""
    return sum(
        d.memory_mb for d in facts.domains if d.state in ACTIVE_STATES and d.name.lower() != but.lower()
    )


def memory_reserve_mb(container: Host) -> int:
    """The memory that is reserved for the host, in MB: attribute `vm_memory_reserve`."""
    # an empty value, which an earlier release stored, is no statement that the default is meant
    text = container.attributes.get("vm_memory_reserve", KNOWN["vm_memory_reserve"].default)
    try:
        return read_number("vm_memory_reserve", text, 0)
    except UserError:
        raise StateError(
            f'the attribute vm_memory_reserve of {container.name} is "{printable(text)}"; it must be a number of MB'
        ) from None


def links_of(container: Host, connections: Sequence[Connection]) -> tuple[LinkSpec, ...]:
    """The network devices under a machine's interfaces, each once; devices of the site are only checked."""
    is_local = container.attribute("vlan_transport") == LOCAL_TRANSPORT
    links = {
        tap.device: LinkSpec(
            device=tap.device,
            kind="local_bridge" if is_local else "vlan",
            parent=None if is_local else tap.parent,
            vlan=tap.vlan,
            mtu=tap.mtu_bytes,
        )
        for tap in connections
        if isinstance(tap, Tap)
    }
    for connection in connections:
        if isinstance(connection, Direct):
            links[connection.device] = LinkSpec(connection.device, "site_device", None, 0)
        elif isinstance(connection, Bridged) and not connection.is_open_vswitch:
            links[connection.bridge] = LinkSpec(connection.bridge, "site_bridge", None, 0)
    return tuple(links.values())


def _check_filter(vm: VirtualMachine, container: Host, network: FilterPlan, facts: HostFacts) -> None:
    if network.is_on and network.senders and not facts.has_filters:
        raise StateError(
            f"{vm.name} is not started: the kernel of {container.name} cannot filter packets of guests; load its "
            f"modules sch_ingress, cls_bpf and act_gact, or, when all guests are trusted, "
            f"rocks set host attr {container.name} vm_filter off"
        )


def _check_domain(vm: VirtualMachine, domain: DomainFact | None) -> None:
    if domain is None:
        return
    if domain.state == "shutdown":
        raise BusyError(f"{vm.name} is shutting down at this moment; start it when it is off")
    if domain.state == "paused":
        raise StateError(f"{vm.name} is paused, not off; resume it with rocks resume host vm {vm.name}")
    if domain.has_managed_save:
        raise StateError(
            f"{vm.name} has a managed save on {vm.container and vm.container.name} that does not belong to its lease; "
            f"to discard it: rocks stop host vm {vm.name} saved=remove"
        )


def _check_saved(vm: VirtualMachine, domain: DomainFact | None, lease_token: int) -> None:
    discard = f"discard what its guest had in memory: rocks stop host vm {vm.name} saved=remove"
    if domain is not None and domain.state == "paused" and domain.token == lease_token:
        return  # an interrupted restore
    if domain is None or not domain.has_managed_save or domain.token != lease_token:
        raise StateError(
            f"{vm.name} was saved, but {vm.container and vm.container.name} does not have its memory any more; to "
            f"start it as after a power cut, {discard}, then rocks start host vm {vm.name}"
        )
    recorded = {disk.path for disk in vm.disks}
    if domain.disks is not None and not recorded <= set(domain.disks):
        raise StateError(
            f"{vm.name} was saved with other disks than it has in the database now: {', '.join(domain.disks)}; undo "
            f"that change, or {discard}"
        )


def _check_size(vm: VirtualMachine, container: Host, facts: HostFacts, promised_memory_mb: int) -> None:
    if vm.host.cpus > facts.cpus:
        raise StateError(
            f"{vm.name} is not started: it has {vm.host.cpus} CPUs, {container.name} has {facts.cpus}; "
            f"rocks set host cpus {vm.name} {facts.cpus}, or choose another host"
        )
    # A crashed guest of this name is removed before the new one starts.
    used = active_memory_mb(facts, but=vm.name) + promised_memory_mb
    available_mb = max(0, facts.memory_mb - memory_reserve_mb(container))
    if used + vm.memory_mb > available_mb:
        raise StateError(
            f"{vm.name} is not started: it needs {vm.memory_mb} MB of memory, and {container.name} has "
            f"{max(0, available_mb - used)} MB left of {available_mb} MB for virtual machines ({used} MB are taken); "
            f"stop others, or rocks set host vm {vm.name} mem=MB"
        )


def _check_vfs(vm: VirtualMachine, container: Host, connections: Sequence[Connection]) -> None:
    for vf in connections:
        if not isinstance(vf, VirtualFunction):
            continue
        if vf.vlan and container.attribute("vlan_transport") == LOCAL_TRANSPORT:
            raise StateError(
                f"{vm.name} is not started: VLANs of {container.name} are local (it has "
                f"vlan_transport={LOCAL_TRANSPORT}), and a virtual function of {vf.device} is not connected to "
                f"them; remove the option sriov from the interface: rocks set host interface options {vm.name} "
                f"{vf.mac} NULL"
            )


def _check_disk(vm: VirtualMachine, disk: Disk, facts: Sequence[DiskFact]) -> DiskSpec:
    fact = next((fact for fact in facts if fact.path == disk.path), None)
    assert fact is not None, "facts are asked for every disk"
    if disk.is_block:
        if not fact.is_block:
            fault = "is not a block device" if fact.exists else "is not on its host"
            raise StateError(
                f"{vm.name} is not started: its disk, the device {disk.path}, {fault}; "
                f"create it, or give the machine another disk: rocks set host vm {vm.name} disk=…"
            )
        return DiskSpec(disk.path, "raw", disk.size_gb, True)
    if fact.is_block:
        raise StateError(
            f"{vm.name} is not started: its disk {disk.path} is a block device; define it as one: "
            f"rocks set host vm {vm.name} disk=phy:{disk.path},{disk.device},{disk.bus}"
        )
    if not fact.exists and disk.size_gb * BYTES_PER_GB > fact.filesystem_bytes:
        raise StateError(
            f"{vm.name} is not started: its disk {disk.path} of {gigabytes(disk.size_gb * BYTES_PER_GB)} is larger "
            f"than its file system of {gigabytes(fact.filesystem_bytes)}; rocks set host vm {vm.name} disksize=GB, "
            "or choose another folder"
        )
    if fact.free_bytes < LEAST_FREE_BYTES:
        raise StateError(
            f"{vm.name} is not started: the file system of its disk {disk.path} has {gigabytes(fact.free_bytes)} "
            f"free; the minimum is {gigabytes(LEAST_FREE_BYTES)}. Free space there"
        )
    if not fact.exists and disk.type == "qed":
        raise StateError(
            f"{vm.name} is not started: the image {disk.path} does not exist, and an empty image of type qed cannot "
            "be created; copy the image there, or use qcow2"
        )
    return DiskSpec(disk.path, _FORMATS.get(disk.type, "raw"), disk.size_gb, False)


def _links(
    vm: VirtualMachine,
    container: Host,
    connections: Sequence[Connection],
    facts: HostFacts,
    neighbours: Mapping[int, Sequence[str]],
) -> tuple[LinkSpec, ...]:
    links = links_of(container, connections)
    for link in links:
        if link.kind == "vlan" and not facts.has_8021q:
            raise StateError(
                f"{vm.name} is not started: the kernel of {container.name} has no 802.1Q VLANs; load its module "
                f"8021q, or, for a cluster on this host alone, "
                f"rocks set host attr {container.name} vlan_transport {LOCAL_TRANSPORT}"
            )
        others = sorted(set(neighbours.get(link.vlan, ())) - {container.name})
        if link.kind == "local_bridge" and others:
            raise StateError(
                f"{vm.name} is not started: VLANs of {container.name} are local (it has "
                f"vlan_transport={LOCAL_TRANSPORT}), but VLAN {link.vlan} also has machines on {', '.join(others)}, "
                "which could not be reached; place the whole cluster on one host"
            )
    return links
