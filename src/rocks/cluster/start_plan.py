"""May this virtual machine start on this host, and what must be there: from records and facts alone. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rocks.cluster.filter_plan import FilterPlan, plan_filter, unfiltered_note
from rocks.cluster.names import printable
from rocks.cluster.values import read_number
from rocks.cluster.vm_network import Bridged, Direct, Function, Tap, Unconnected
from rocks.errors import BusyError, StateError, UserError
from rocks.units import BYTES_PER_GB, BYTES_PER_GIB, gigabytes
from rocks.wire.agent import DiskSpec, LinkSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.cluster.records import Disk, Host, VirtualMachine
    from rocks.cluster.vm_network import Connection
    from rocks.wire.agent import AssumedState
    from rocks.wire.facts import DiskFact, DomainFact, HostFacts

ACTIVE_STATES = ("running", "blocked", "paused", "shutdown", "crashed")
"""States in which a domain holds memory and may write to its disks."""

LEAST_FREE_BYTES = BYTES_PER_GIB
"""No machine is started whose images' file system has less left: it would stop in the middle of its work."""

LOCAL_TRANSPORT = "local"


@dataclass(frozen=True)
class StartPlan:
    """What a host is asked to make before the domain starts, and what the facts said of the domain."""

    disks: tuple[DiskSpec, ...]
    links: tuple[LinkSpec, ...]
    autostart: bool
    assumed_state: AssumedState
    notes: tuple[str, ...] = ()
    network: FilterPlan = FilterPlan(is_on=False)


class AlreadyRunningError(StateError):
    """The machine runs under its own lease, as recorded: refused by name, harmless for a whole cluster."""


@dataclass(frozen=True)
class AlreadyStarted:
    """An earlier start under the same lease was cut off after the domain began to run: only record it."""

    notes: tuple[str, ...] = ()


def container_of(vm: VirtualMachine) -> Host:
    """The container that is to run `vm`. StateError when it has none, or one that runs no virtual machines."""
    if vm.container is None:
        raise StateError(
            f"host {vm.name} does not have a physical host; give it one: rocks set host vm {vm.name} physnode=HOST"
        )
    if not vm.container.is_true("kvm"):
        raise StateError(
            f"{vm.name} is not started: its physical host {vm.container.name} is no VM container; "
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
) -> StartPlan | AlreadyStarted:
    """The plan for one machine, or an error that says who can mend what.

    `promised_memory_mb` is what machines earlier in the same command will take on this host; `neighbours` maps
    a VLAN id to all hosts on which machines of that VLAN are placed. `was_cut_off`: an earlier start under this lease
    did not come to its end, so a paused domain of it is one that was not let go yet.
    """
    container = container_of(vm)
    domain = next((domain for domain in facts.domains if domain.name == vm.name), None)
    notes = tuple(
        f"{c.device} of {vm.name} is not connected: {c.reason}"
        for c in connections
        if isinstance(c, Unconnected)
    )
    if domain is not None and domain.state in ("running", "blocked"):
        if domain.token == lease_token:
            return AlreadyStarted((f"{vm.name} was already brought up by a command that was cut off",))
        raise StateError(f"The host {vm.name} is already running.")
    if not (was_cut_off and domain is not None and domain.state == "paused" and domain.token == lease_token):
        _check_domain(vm, domain)
    network = plan_filter(vm, connections)
    _check_filter(vm, container, network, facts)
    _check_size(vm, container, facts, promised_memory_mb)
    _check_vfs(vm, container, connections)
    return StartPlan(
        disks=tuple(_check_disk(vm, disk, facts.disks) for disk in vm.disks),
        links=_links(vm, container, connections, facts, neighbours),
        autostart=vm.host.attribute("kvm_autostart") == "true",
        assumed_state="absent" if domain is None else domain.state,
        notes=(*notes, unfiltered_note(vm)) if network.lets_all_through else notes,
        network=network,
    )


def is_active(facts: HostFacts, name: str) -> bool:
    """Whether a domain of that name holds memory on the host, and so may write to its disks."""
    return any(domain.name == name and domain.state in ACTIVE_STATES for domain in facts.domains)


def active_memory_mb(facts: HostFacts, but: str = "") -> int:
    """Memory of all domains of the host that are not off, in MB; the domain `but` is left out."""
    return sum(d.memory_mb for d in facts.domains if d.state in ACTIVE_STATES and d.name != but)


def memory_reserve_mb(container: Host) -> int:
    """What virtual machines must leave to the host, in MB: attribute `vm_memory_reserve`, 256 by default."""
    text = container.attribute("vm_memory_reserve", "256")
    try:
        return read_number("vm_memory_reserve", text, 0)
    except UserError:
        raise StateError(
            f'the attribute vm_memory_reserve of {container.name} is "{printable(text)}"; it must be a number of MB'
        ) from None


def links_of(container: Host, connections: Sequence[Connection]) -> tuple[LinkSpec, ...]:
    """The network devices that a machine's interfaces hang on, each once; those of the site are only looked at."""
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
            f"{vm.name} is not started: the kernel of {container.name} cannot filter what guests send; load its "
            f"modules sch_ingress, cls_bpf and act_gact, or, where everybody may trust all guests, "
            f"rocks set host attr {container.name} vm_filter off"
        )


def _check_domain(vm: VirtualMachine, domain: DomainFact | None) -> None:
    if domain is None:
        return
    if domain.state == "shutdown":
        raise BusyError(f"{vm.name} is shutting down at this moment; start it when it is off")
    if domain.state == "paused":
        raise StateError(f"{vm.name} is paused, not off; let it go on with rocks resume host vm {vm.name}")
    if domain.has_managed_save:
        raise StateError(
            f"{vm.name} has a saved state that libvirt would start instead; on {vm.container and vm.container.name}, "
            f"go on from it with virsh start {vm.name} or delete it with virsh managedsave-remove {vm.name}"
        )


def _check_size(vm: VirtualMachine, container: Host, facts: HostFacts, promised_memory_mb: int) -> None:
    if vm.host.cpus > facts.cpus:
        raise StateError(
            f"{vm.name} is not started: it has {vm.host.cpus} CPUs, {container.name} has {facts.cpus}; "
            f"rocks set host cpus {vm.name} {facts.cpus}, or choose another host"
        )
    # What is left of a crashed guest of this name goes before the new one comes.
    used = active_memory_mb(facts, but=vm.name) + promised_memory_mb
    room = max(0, facts.memory_mb - memory_reserve_mb(container))
    if used + vm.memory_mb > room:
        raise StateError(
            f"{vm.name} is not started: it needs {vm.memory_mb} MB of memory, and {container.name} has "
            f"{max(0, room - used)} MB left of {room} MB for virtual machines ({used} MB are taken); stop others, "
            f"or rocks set host vm {vm.name} mem=MB"
        )


def _check_vfs(vm: VirtualMachine, container: Host, connections: Sequence[Connection]) -> None:
    for function in connections:
        if not isinstance(function, Function):
            continue
        if function.vlan and container.attribute("vlan_transport") == LOCAL_TRANSPORT:
            raise StateError(
                f"{vm.name} is not started: VLANs of {container.name} are its own ({container.name} has "
                f"vlan_transport={LOCAL_TRANSPORT}), and a virtual function of {function.device} is not connected to "
                f"them; take the option sriov from the interface: rocks set host interface options {vm.name} "
                f"{function.mac} NULL"
            )


def _check_disk(vm: VirtualMachine, disk: Disk, facts: Sequence[DiskFact]) -> DiskSpec:
    fact = next((fact for fact in facts if fact.path == disk.path), None)
    assert fact is not None, "facts are asked for every disk"
    if disk.is_block:
        if not fact.is_block:
            lacks = "is no block device" if fact.exists else "is not on its host"
            raise StateError(
                f"{vm.name} is not started: its disk, the device {disk.path}, {lacks}; "
                f"make it there, or give the machine another: rocks set host vm {vm.name} disk=…"
            )
        return DiskSpec(disk.path, "raw", disk.size_gb, True)
    if fact.is_block:
        raise StateError(
            f"{vm.name} is not started: its disk {disk.path} is a block device; give it as one: "
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
            f"free, and {gigabytes(LEAST_FREE_BYTES)} is the least; make room there"
        )
    if not fact.exists and disk.type == "qed":
        raise StateError(
            f"{vm.name} is not started: there is no image {disk.path}, and an empty one of type qed cannot be "
            "made; put the image there, or use qcow2"
        )
    return DiskSpec(disk.path, "qcow2" if disk.type == "qcow2" else "raw", disk.size_gb, False)


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
                f"8021q, or, for a cluster that stays on this one host, "
                f"rocks set host attr {container.name} vlan_transport {LOCAL_TRANSPORT}"
            )
        others = sorted(set(neighbours.get(link.vlan, ())) - {container.name})
        if link.kind == "local_bridge" and others:
            raise StateError(
                f"{vm.name} is not started: VLANs of {container.name} are its own ({container.name} has "
                f"vlan_transport={LOCAL_TRANSPORT}), but VLAN {link.vlan} has machines on {', '.join(others)} as "
                "well, and they could not reach each other; put the whole cluster on one host"
            )
    return links
