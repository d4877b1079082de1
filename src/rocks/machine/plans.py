"""What a host does with a machine, its start and each other operation, decided once from what it observes. Pure."""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import BusyError, Code, StateError
from rocks.core.values import BYTES_PER_GB, BYTES_PER_GIB, KIB_PER_MB, gigabytes, size_text
from rocks.fleet.wire.facts import ACTIVE_STATES, GUEST_RUNS, is_active_domain
from rocks.fleet.wire.requests import (
    SEED_SUFFIX,
    EndArrival,
    EndDeparture,
    FreezeGuest,
    GrowDisk,
    MakeSnapshot,
    PauseDomain,
    RestoreSnapshot,
    ResumeDomain,
    SaveDomain,
    StopDomain,
    ThawGuest,
)
from rocks.fleet.wire.snapshot_names import snapshot_exists_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rocks.fleet.wire.facts import DiskFact, DomainFact, HostFacts
    from rocks.fleet.wire.requests import DiskSpec, StartDomain


# How a machine starts on its host, decided once, from its spec and what the host observes.
#
# The agent decides this under the machine's lock, directly before it acts; the steps are what a dry run prints. The
# frontend decides it only for a live move, before anything is sent, from the facts of the new host. What a host does
# with the other operations is decided in the same way, below.

LEAST_FREE_BYTES = BYTES_PER_GIB
"""The least free space in the file system of an image: with less, the guest would soon stop with a write error."""

_QEMU = re.compile(r"(\d{1,4})\.(\d{1,4})(?!\d|\.[5-9]\d)")
_MACHINE_TYPE = re.compile(r"-(\d{1,4})\.(\d{1,4})\Z")

NOT_STARTED = "is not started"
"""What a message says of a machine, where a rule of starts is broken; callers that start nothing give another text."""


class Way(enum.Enum):
    """How a machine comes to run on its host."""

    RUNS = "it runs already, under this lease"
    COMPLETE = "its start was interrupted: its interfaces are filtered, and it is resumed"
    START = "a new domain"
    RESTORE = "from its managed save"


class StartPlan(NamedTuple):
    """The way, and the steps in words."""

    way: Way
    steps: tuple[str, ...]


def plan_start(
    spec: StartDomain,
    memory_mb: int,
    observed: HostFacts,
    promised: Mapping[str, int],
    outcome: str = NOT_STARTED,
) -> StartPlan:
    """The start of a machine with `memory_mb` MB on the host with these facts.

    `observed` includes the disks of the spec; `promised` maps machines whose start is in progress to their memory in
    MB. StateError or BusyError, with the remedy, when it cannot start.
    """
    domain = _domain_of(spec, observed)
    way = way_of(spec, domain, observed.qemu)
    if way is Way.RUNS:
        return StartPlan(way, ())
    if way is Way.COMPLETE:
        return StartPlan(way, (f"complete the interrupted start of {spec.name}",))
    _check_host(spec, observed, outcome)
    if spec.memory_reserve_mb is not None:
        starting = starting_mb(spec.name, promised, observed)
        reserve_mb = spec.memory_reserve_mb
        check_memory(spec.name, memory_mb, reserve_mb, observed, starting, _host(spec), outcome)
    disks = [
        (disk, next(fact for fact in observed.disks if fact.path == disk.path))
        for disk in disks_to_check(spec)
        if way is not Way.RESTORE or domain is None or disk.path in domain.disks
    ]
    for disk, fact in disks:
        check_disk(spec.name, disk, fact, outcome, spec.disks.index(disk))
    if way is Way.RESTORE:
        return StartPlan(way, (f"continue {spec.name} from its saved memory",))
    created = [_creation(disk) for disk, fact in disks if not (fact.exists or disk.is_block)]
    seed = [f"write the seed {spec.seed.path}"] if spec.seed else []
    return StartPlan(way, (*created, *seed, f"start {spec.name}"))


def disks_to_check(spec: StartDomain) -> tuple[DiskSpec, ...]:
    """The disks that the plan looks at: CDs are checked when they are opened, and so are mapped ones of a restore."""
    return tuple(disk for disk in spec.disks if not (disk.is_cdrom or disk.is_mapped and spec.restores))


def way_of(spec: StartDomain, domain: DomainFact | None, qemu: str) -> Way:
    """The way, by the domain of that name on the host, and the version of its QEMU ('' when it is not known).

    Errors as `plan_start`.
    """
    name = spec.name
    if domain is not None and domain.state == "shutdown":
        raise BusyError(f"{name} is shutting down at this moment; start it when it is off")
    if domain is not None and domain.state == "paused":
        _check_same_lease(spec, domain)
        if spec.continues:
            return Way.COMPLETE
        raise StateError(f"{name} is paused, not off; resume it with rocks resume host vm {name}")
    if domain is not None and domain.state in ACTIVE_STATES:
        _check_same_lease(spec, domain)
        if domain.state in GUEST_RUNS:
            return Way.RUNS
    if spec.restores:
        _check_saved(spec, domain, qemu)
        return Way.RESTORE
    if domain is not None and domain.has_managed_save:
        raise StateError(
            f"{name} has a managed save on {_host(spec)} that does not belong to its lease; to discard it: "
            f"rocks stop host vm {name} saved=remove"
        )
    return Way.START


def check_memory(
    name: str,
    memory_mb: int,
    reserve_mb: int,
    observed: HostFacts,
    starting_mb: int = 0,
    host: str = "this host",
    outcome: str = NOT_STARTED,
) -> None:
    """StateError unless the host has so much memory besides its reserve, other active domains and starts.

    `outcome` as `NOT_STARTED`.
    """
    # A crashed guest of this name is removed before the new one starts.
    used_mb = starting_mb + sum(
        domain.memory_mb
        for domain in observed.domains
        if domain.state in ACTIVE_STATES and domain.name.lower() != name.lower()
    )
    available_mb = max(0, observed.memory_mb - reserve_mb)
    if used_mb + memory_mb > available_mb:
        starting = f", {starting_mb} MB of them by starts in progress" if starting_mb else ""
        raise StateError(
            f"{name} {outcome}: it needs {memory_mb} MB of memory, and {host} has "
            f"{max(0, available_mb - used_mb)} MB left of {available_mb} MB for virtual machines ({used_mb} MB are "
            f"taken{starting}); stop others, or rocks set host vm {name} mem=MB",
            code=Code.HOST_FULL,
        )


def starting_mb(name: str, promised: Mapping[str, int], observed: HostFacts) -> int:
    """The memory promised to other machines beyond what libvirt counts: of starts, and of machines that get more."""
    counted = {fact.name.lower(): fact.memory_mb for fact in observed.domains if is_active_domain(fact)}
    return sum(max(0, mb - counted.get(it.lower(), 0)) for it, mb in promised.items() if it != name)


def check_disk(
    name: str, disk: DiskSpec, fact: DiskFact, outcome: str = NOT_STARTED, number: int | None = 0
) -> None:
    """StateError, about the machine `name`, for a disk that is not there, or cannot be created or grow there.

    `outcome` as `NOT_STARTED`. `number` is the disk's place among those of the machine, None for a disk that is not
    recorded: `set host vm` takes the values of all disks in their order.
    """
    if disk.is_block:
        if not fact.is_block:
            fault = "is not a block device" if fact.exists else "is not on its host"
            raise StateError(
                f"{name} {outcome}: its disk, the device {disk.path}, {fault}; "
                f"create it, or {_another_disk(name, disk, number)}"
            )
        return
    if fact.is_block:
        raise StateError(
            f"{name} {outcome}: its disk {disk.path} is a block device; define it as one: "
            f"{_defined_as_device(name, disk, number)}"
        )
    if not fact.exists and disk.size_gb * BYTES_PER_GB > fact.filesystem_bytes:
        raise StateError(
            f"{name} {outcome}: its disk {disk.path} of {gigabytes(disk.size_gb * BYTES_PER_GB)} is larger "
            f"than its file system of {gigabytes(fact.filesystem_bytes)}{_missing_folder(disk, fact)}; "
            f"{_smaller_disk(name, disk, fact, number)}choose another folder"
        )
    if fact.free_bytes < LEAST_FREE_BYTES:
        raise StateError(
            f"{name} {outcome}: the file system of its disk {disk.path} has {size_text(fact.free_bytes)} "
            f"free{_missing_folder(disk, fact)}; the minimum is {size_text(LEAST_FREE_BYTES)}. Free space there"
        )
    if not fact.exists and disk.format == "qed" and disk.base is None:
        raise StateError(
            f"{name} {outcome}: the image {disk.path} does not exist, and an empty image of type qed cannot "
            "be created; copy the image there, or use qcow2"
        )


def smaller_image(name: str, disk: DiskSpec, size_bytes: int) -> tuple[str, ...]:
    """A note about an image of so many bytes that is smaller than its record says, which lists print; else none."""
    if size_bytes >= disk.size_gb * BYTES_PER_GB:
        return ()
    device = disk.target.partition(",")[0]
    return (
        f"the image {disk.path} of {name} has {gigabytes(size_bytes)}, and its record {disk.size_gb} GB: rocks set "
        f"host vm disk {name} {device} size={disk.size_gb} grows it",
    )


def _another_disk(name: str, disk: DiskSpec, number: int | None) -> str:
    if number is None:
        return "name another disk"
    if number:
        return f"remove it from the machine: {_removal(name, disk)}"
    return f"give the machine another disk: rocks set host vm {name} disk=…"


def _defined_as_device(name: str, disk: DiskSpec, number: int | None) -> str:
    device = f"disk=phy:{disk.path},{disk.target}"
    if number is None:
        return device
    if number:
        return f"{_removal(name, disk)}, then rocks add host vm disk {name} {device}"
    return f"rocks set host vm {name} {device}"


def _removal(name: str, disk: DiskSpec) -> str:
    return f"rocks remove host vm disk {name} {disk.target.partition(',')[0]}"


def _smaller_disk(name: str, disk: DiskSpec, fact: DiskFact, number: int | None) -> str:
    """How the machine gets the disk with a size that fits, and an "or"; empty where no size does."""
    size = f"disksize={fact.filesystem_bytes // BYTES_PER_GB}"
    if fact.filesystem_bytes < BYTES_PER_GB:
        return ""
    if number is None:
        return f"give at most {size}, or "
    if number:
        kind = "file" if disk.format == "raw" else disk.format
        again = f"rocks add host vm disk {name} disk={kind}:{disk.path},{disk.target} {size}"
        return f"{_removal(name, disk)}, then {again}, or "
    return f"rocks set host vm {name} {size}, or "


def _missing_folder(disk: DiskSpec, fact: DiskFact) -> str:
    """Names the folder of a new image that does not exist, since its path may be wrong; else empty."""
    place = disk.path.rpartition("/")[0] or "/"
    is_there = fact.folder in ("", place)
    return "" if is_there else f" (its host has no folder {place}, which would be made in {fact.folder})"


def _host(spec: StartDomain) -> str:
    return spec.host or "this host"


def _domain_of(spec: StartDomain, observed: HostFacts) -> DomainFact | None:
    """The domain of that name. StateError when the name in other case is that of an active one."""
    same = [domain for domain in observed.domains if domain.name.lower() == spec.name.lower()]
    for domain in same:
        if domain.name != spec.name and domain.state in ACTIVE_STATES:
            raise StateError(f"The host {spec.name} is already running.")
    return next((domain for domain in same if domain.name == spec.name), None)


def _check_same_lease(spec: StartDomain, domain: DomainFact) -> None:
    if domain.token is None:
        raise StateError(
            f"a domain {spec.name} not started by this system is {domain.state} on {_host(spec)}; "
            f"run `virsh destroy {spec.name}` there"
        )
    if domain.token != spec.token:
        raise StateError(
            f"{spec.name} is {domain.state} on {_host(spec)} under lease {domain.token}, not {spec.token}; "
            f"run `rocks stop host vm {spec.name}`"
        )


def is_too_old(qemu: str, machine_type: str) -> bool:
    """Whether a QEMU of this version is older than the machine type, which it does not know then.

    The versions are as in `HostFacts` and `DomainFact`. A candidate, as 9.1.91 of 9.2, has the types of the next
    release, so it is compared with none. A type of a distribution's own, as pc-q35-rhel9.2.0, has none that could be
    compared. A type has the number of the release of QEMU that it came with, as pc-i440fx-7.2 (QEMU,
    docs/about/deprecated.rst, "System emulator machines").
    """
    has, needs = _QEMU.match(qemu), _MACHINE_TYPE.search(machine_type)
    return (
        has is not None
        and needs is not None
        and tuple(map(int, has.groups())) < tuple(map(int, needs.groups()))
    )


def _check_saved(spec: StartDomain, domain: DomainFact | None, qemu: str) -> None:
    name = spec.name
    discard = f"discard what its guest had in memory: rocks stop host vm {name} saved=remove"
    if domain is None or not domain.has_managed_save or domain.token != spec.token:
        raise StateError(
            f"{name} was saved, but {_host(spec)} does not have its memory any more; to start it as after a power "
            f"cut, {discard}, then rocks start host vm {name}"
        )
    if is_too_old(qemu, domain.machine_type):
        raise StateError(
            f"{name} was saved by a newer QEMU than {_host(spec)} has now: its machine type is {domain.machine_type}, "
            f"which QEMU {qemu} does not know; install the newer QEMU again, or {discard}"
        )
    recorded = [disk.path for disk in spec.disks if not disk.is_cdrom]
    lacking = [path for path in recorded if path not in domain.disks]
    others = [path for path in domain.disks if path not in recorded and not path.endswith(SEED_SUFFIX)]
    # a guest that only lacks a disk of its record runs without it, as before it was saved
    if lacking and others:
        raise StateError(
            f"{name} was saved with other disks than it has in the database now: with {', '.join(others)}, and "
            f"without {', '.join(lacking)}; undo that change (rocks set host vm {name} disk=…), or {discard}"
        )


def _check_host(spec: StartDomain, observed: HostFacts, outcome: str) -> None:
    if spec.cpus > observed.cpus:
        raise StateError(
            f"{spec.name} {outcome}: it has {spec.cpus} CPUs, {_host(spec)} has {observed.cpus}; "
            f"rocks set host vm {spec.name} cpus={observed.cpus}, or choose another host"
        )
    if spec.needs_filters and not observed.has_filters:
        raise StateError(
            f"{spec.name} {outcome}: {_host(spec)} cannot filter packets of guests; that needs the package nftables "
            f"and Linux 5.16 (RHEL 9.3) or later. When all guests are trusted: "
            f"rocks set host attr {_host(spec)} vm_filter off"
        )
    if not observed.has_8021q and any(link.kind == "vlan" for link in spec.links):
        raise StateError(
            f"{spec.name} {outcome}: the kernel of {_host(spec)} has no 802.1Q VLANs; load its module "
            f"8021q, or, for a cluster on this host alone, rocks set host attr {_host(spec)} vlan_transport local"
        )


def _creation(disk: DiskSpec) -> str:
    copied = f", a copy of image {disk.base.digest[:12]}" if disk.base else ""
    return f"make the disk {disk.path} ({disk.format}, {disk.size_gb} GB{copied})"


# What a host does with an operation on a domain, but a start or a change, decided once from what it observes.
#
# The agent decides this under the machine's lock, from a fresh look at the domain, directly before it acts; a dry run
# prints the steps. What only the attempt shows is an error of the attempt: an answer of libvirt or of the guest, and
# the content of files. A change needs the domain's XML: `rocks.machine.host.change` decides it.

_NEXT = {"paused": "resume", "crashed": "stop", "shutdown": "stop"}
"""The verb of the command that leads out of a state in which the guest does not run; else start."""

_STOPS = {
    "poweroff": "power off {name}",
    "shutdown": "request {name} to shut down, and power it off after {seconds} s",
    "reset": "press the reset button of {name}",
    "reboot": "request {name} to restart",
}


class SaveFacts(NamedTuple):
    """What decides whether a guest is saved besides its domain.

    `host_devices` are PCI addresses of devices of its host that it has, `devices` those of its disks that are neither
    files nor images of a NAS. `folder` is where its memory goes, with so much free space. `is_recorded`: the record of
    a save is complete.
    """

    host_devices: tuple[str, ...]
    devices: tuple[str, ...]
    folder: str
    free_bytes: int
    is_recorded: bool


class Observed(NamedTuple):
    """What a host observes of a machine: its domain, the files and devices that the operation names, by path.

    `save` is there before a save only. `snapshot`, before a new one, is its name if the machine has one already.
    """

    domain: DomainFact | None
    disks: Mapping[str, DiskFact] = {}
    save: SaveFacts | None = None
    snapshot: str = ""


class OperationPlan(NamedTuple):
    """The steps in words, none where nothing is to be done; and notes for the operator."""

    steps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def plan_pause(operation: PauseDomain, observed: Observed) -> OperationPlan:
    """Nothing for a guest that is paused. StateError for one that does not run, and for a newer lease."""
    return _steps(not _is_paused(operation, observed.domain) and f"pause {operation.name}")


def plan_resume(operation: ResumeDomain | EndDeparture, observed: Observed) -> OperationPlan:
    """Nothing for a guest that runs. StateError for one that neither does nor is paused, and for a newer lease."""
    if isinstance(operation, EndDeparture) and not operation.resumes:
        return OperationPlan()  # it waits only
    return _steps(_is_paused(operation, observed.domain) and f"resume {operation.name}")


def plan_end_arrival(operation: EndArrival, observed: Observed) -> OperationPlan:
    """Nothing for a domain that has arrived: it is kept."""
    name, domain = operation.name, observed.domain
    if domain is None or domain.token != operation.token:
        return _steps(f"end the migration of {name} to this host")
    if domain.state in GUEST_RUNS or domain.persistent:
        return OperationPlan()
    return _steps(f"end the migration of {name} to this host, and destroy it here")


def plan_restore(operation: RestoreSnapshot, observed: Observed) -> OperationPlan:
    """StateError for a machine that runs or is saved, and for a disk that is not the machine's."""
    name, domain = operation.name, observed.domain
    if is_active_domain(domain) or _is_saved(domain):
        raise StateError(f"{name} runs, or is saved, on this host; stop it first")
    for disk in operation.disks:
        check_disk(name, disk, observed.disks[disk.path], "is not restored")
    paths = [disk.path for disk in operation.disks]
    return _steps(*(f"replace {path} by {operation.copies[i]}" for i, path in enumerate(paths)))


def plan_freeze(operation: FreezeGuest, observed: Observed) -> OperationPlan:
    """StateError unless the guest runs, or is paused, under this lease."""
    check_changeable(operation.name, observed.domain, operation.token)
    return _steps(f"freeze the file systems of {operation.name}, if its guest agent answers")


def plan_thaw(operation: ThawGuest, observed: Observed) -> OperationPlan:
    """StateError unless the guest runs, or is paused, under this lease."""
    check_changeable(operation.name, observed.domain, operation.token)
    return _steps("thaw them, if they are frozen")


def _steps(*steps: str | bool) -> OperationPlan:
    """The plan of those steps that are there."""
    return OperationPlan(tuple(str(step) for step in steps if step))


def waits_for_guest(operation: StopDomain, domain: DomainFact | None) -> bool:
    """Whether a stop waits until the guest has shut down; where none runs, nothing would answer."""
    return operation.action == "shutdown" and domain is not None and domain.state in GUEST_RUNS


def check_changeable(name: str, domain: DomainFact | None, token: int) -> None:
    """StateError unless the guest runs, or is paused, under this lease."""
    if domain is None or domain.state not in (*GUEST_RUNS, "paused"):
        raise _not_running(name, domain)
    if domain.token != token:
        raise StateError(f"{name} runs on this host under lease {domain.token}, not {token}; try again")


def plan_stop(operation: StopDomain, observed: Observed) -> OperationPlan:
    """A stop, or a restart in place. StateError for a newer lease, a saved machine, and a paused guest's shutdown."""
    name, domain = operation.name, observed.domain
    if not operation.ends_domain and (domain is None or domain.state not in GUEST_RUNS):
        raise _not_running(name, domain)
    _check_no_newer_lease(domain, operation.token)
    if domain is None:
        return OperationPlan()
    if not operation.ends_domain:
        return _steps(_STOPS[operation.action].format(name=name))
    if _is_saved(domain) and not is_active_domain(domain):
        if not operation.discards_save:
            raise StateError(
                f"{name} is saved on this host: rocks restore host vm {name} continues it, and rocks stop "
                f"host vm {name} saved=remove discards what its guest had in memory"
            )
        return _steps(f"discard the saved memory of {name}, and remove its definition")
    if operation.action == "shutdown" and domain.state == "paused":
        raise StateError(
            f"{name} is paused, so its guest cannot shut down; resume it, or stop it with action=poweroff"
        )
    if not is_active_domain(domain):
        return _steps(f"remove the definition of {name}")
    action = operation.action if waits_for_guest(operation, domain) else "poweroff"
    return _steps(_STOPS[action].format(name=name, seconds=operation.deadline_seconds))


def _is_paused(operation: PauseDomain | ResumeDomain | EndDeparture, domain: DomainFact | None) -> bool:
    """Whether the guest is paused. StateError when it neither is nor runs, and for a newer lease."""
    if domain is None or domain.state not in (*GUEST_RUNS, "paused"):
        raise _not_running(operation.name, domain)
    _check_no_newer_lease(domain, operation.token)
    return domain.state == "paused"


def plan_save(operation: SaveDomain, observed: Observed) -> OperationPlan:
    """StateError for a machine that does not run under this lease, has a host's device, or too little space for it."""
    name, domain, facts = operation.name, observed.domain, observed.save
    if domain is None or not (is_active_domain(domain) or _is_saved(domain)):
        raise StateError(f"{name} is not running on this host, so there is nothing to save")
    _check_no_newer_lease(domain, operation.token)
    if domain.token != operation.token:
        raise StateError(
            f"{name} is on this host under lease {domain.token}, not {operation.token}; try again"
        )
    assert facts is not None
    if not is_active_domain(domain):
        return _steps(not facts.is_recorded and f"complete the interrupted save of {name}")
    if facts.host_devices:
        raise StateError(
            f"{name} cannot be saved: it has the device {facts.host_devices[0]} of its host, whose state "
            "stays in the device; shut it down instead"
        )
    if facts.devices:
        raise StateError(
            f"{name} cannot be saved: its disk {facts.devices[0]} is a device, which could change meanwhile; only "
            "machines whose disks are image files, or images of a NAS that image storage has mapped, are saved"
        )
    needed = domain.memory_mb * KIB_PER_MB * 1024
    if needed + BYTES_PER_GIB > facts.free_bytes:
        raise StateError(
            f"{name} is not saved: its memory takes up to {size_text(needed)} in {facts.folder}, whose file system has "
            f"{size_text(facts.free_bytes)} free, and {size_text(BYTES_PER_GIB)} must stay free"
        )
    return _steps(f"save the memory of {name}, and stop it")


def plan_growth(operation: GrowDisk, observed: Observed) -> OperationPlan:
    """A note where the growth waits for the next start. StateError without space, and for a disk of another machine."""
    name, disk, domain = operation.name, operation.disk, observed.domain
    fact, size_bytes = observed.disks[disk.path], disk.size_gb * BYTES_PER_GB
    if not fact.is_block and size_bytes > fact.filesystem_bytes:
        raise StateError(
            f"{disk.path} of {name} does not grow: {gigabytes(size_bytes)} is more than its file system, which has "
            f"{gigabytes(fact.filesystem_bytes)}"
        )
    check_disk(name, disk, fact, "does not grow")
    if disk.is_block and fact.size_bytes < size_bytes:
        raise StateError(
            f"the device {disk.path} has {gigabytes(fact.size_bytes)}, less than {gigabytes(size_bytes)}: grow it "
            "first where it was made (lvextend, zfs set volsize), then repeat the command"
        )
    if not disk.is_block and not fact.exists:
        return OperationPlan(notes=(f"{disk.path} does not exist yet; it is made with its new size",))
    step = f"grow {disk.path} of {name} to {disk.size_gb} GB"
    if domain is None or not is_active_domain(domain):
        if _is_saved(domain):
            raise StateError(f"{name} is saved on this host, with {disk.path} as it is; restore it first")
        return OperationPlan(() if disk.is_block else (step,))
    check_changeable(name, domain, _leased(name, operation.token))
    if disk.path not in domain.disks:
        return OperationPlan(notes=(f"{name} runs without {disk.path} until its next start",))
    return OperationPlan((step,))


def plan_snapshot(operation: MakeSnapshot, observed: Observed) -> OperationPlan:
    """StateError for a second one of the name, and for a disk without content."""
    name, domain, files, present = operation.name, observed.domain, observed.disks, observed.snapshot
    if present:
        raise snapshot_exists_error(name, present)
    for disk in operation.disks:
        check_disk(name, disk, files[disk.path], "gets no snapshot")
        if is_active_domain(domain):
            check_changeable(name, domain, _leased(name, operation.token))
            if domain is not None and disk.path not in domain.disks:
                raise StateError(f"{name} runs without its disk {disk.path}; stop and start it first")
        elif not files[disk.path].exists:
            raise StateError(f"the disk {disk.path} does not exist yet: its machine was never started")
    return _steps(*(f"copy {disk.path} to {operation.copies[i]}" for i, disk in enumerate(operation.disks)))


def _leased(name: str, token: int | None) -> int:
    """The lease of the request. StateError without one, for a domain that is active."""
    if token is None:
        raise StateError(
            f"{name} runs on this host, and its lease is not recorded as running (rocks list host vm lease): rocks "
            f"stop host vm {name}, then repeat the command"
        )
    return token


def _not_running(name: str, domain: DomainFact | None) -> StateError:
    state = "absent" if domain is None else domain.state
    return StateError(
        f"{name} is not running on this host: it is {state}; rocks {_NEXT.get(state, 'start')} host vm {name}"
    )


def _check_no_newer_lease(domain: DomainFact | None, token: int | None) -> None:
    """StateError when the domain runs under a lease newer than `token`; None accepts any lease."""
    if domain is not None and token is not None and domain.token is not None and domain.token > token:
        raise StateError(
            f"{domain.name} is on this host under lease {domain.token}, newer than {token}: "
            "it was started again since"
        )


def _is_saved(domain: DomainFact | None) -> bool:
    return domain is not None and domain.has_managed_save
