"""What a host does with an operation on a domain, but a start or a change, decided once from what it observes. Pure.

The agent decides this under the machine's lock, from a fresh look at the domain, directly before it acts; a dry run
prints the steps. What only the attempt shows is an error of the attempt: an answer of libvirt or of the guest, and the
content of files. A change needs the domain's XML: `rocks.machine.host.libvirt.change_plan` decides it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import StateError
from rocks.core.units import BYTES_PER_GB, BYTES_PER_GIB, KIB_PER_MB, gigabytes, size_text
from rocks.fleet.wire.domain_states import GUEST_RUNS, is_active_domain
from rocks.fleet.wire.requests import (
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
from rocks.machine.start_plan import check_disk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rocks.fleet.wire.facts import DiskFact, DomainFact

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
