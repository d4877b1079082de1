"""Leases of virtual machines: which host may run a machine now, by the rules of decision 3. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.dataclasses import dataclass
from rocks.core.errors import BusyError, Code, RocksError, StateError
from rocks.fleet.wire.facts import GUEST_RUNS, is_active

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.fleet.wire.facts import DomainFact, HostFacts
    from rocks.inventory.records import Lease, VirtualMachine


# A lease is taken before anything starts, and released only when its host has reported that the domain is gone. The
# input is rows that the caller has locked; the result must be stored before the first call to a host.

STARTING = "starting"
"""State of the lease of a machine whose start was requested: its host has not reported that it runs."""

RUNNING = "running"
"""State of the lease of a machine that its host has started; its guest may be paused, or have ended by itself."""

SAVED = "saved"
"""State of the lease of a machine whose memory its host has saved: it is off, and no other host may start it."""

MOVING = "moving"
"""State of the lease of a machine that moves to another host while it runs: either host may run it."""

STOPPING = "stopping"
"""State of the lease of a machine that a command stops, or began to stop: its host has not reported its end."""

DiskKey = tuple[str, str]
"""A disk in leases: the host and the path there."""


class HeldLease(NamedTuple):
    """A lease that a host holds, or a fence that it has not confirmed (`state` fence); a row of `vm_held_leases`.

    `is_known`: the database has a virtual machine of that name; `host_is_known`: it has that host. `target`: where it
    moves, in state moving.
    """

    name: str
    host: str
    state: str
    token: int
    is_known: bool
    host_is_known: bool
    target: str | None = None


@dataclass(frozen=True)
class TakeLease:
    """No host may be running the machine: take the lease under a new token."""


@dataclass(frozen=True)
class KeepLease:
    """The same host holds the lease: a machine runs, or an earlier command was killed. The host's facts decide."""

    lease: Lease


@dataclass(frozen=True)
class AskHolder:
    """Another host holds the lease: it is free only when that host reports that the domain is gone."""

    lease: Lease
    host: str


LeaseStep = TakeLease | KeepLease | AskHolder


def disk_keys(vm: VirtualMachine) -> tuple[DiskKey, ...]:
    """The disks of the machine on its container."""
    return () if vm.container is None else tuple((vm.container.name, disk.path) for disk in vm.disks)


def place_of(vm: VirtualMachine, lease: Lease | None) -> str | None:
    """The host on which the machine may be running: that of its lease, else its container; None without either."""
    if lease is not None and lease.is_held:
        return lease.host
    return None if vm.container is None else vm.container.name


def plan_lease(vm: VirtualMachine, lease: Lease | None, holders: Mapping[DiskKey, str]) -> LeaseStep:
    """The change to the lease that is needed before `vm` may start on its container.

    `holders` maps a disk to the machine whose lease covers it. StateError when that is another machine.
    """
    assert vm.container is not None
    for host, path in disk_keys(vm):
        other = holders.get((host, path))
        if other is not None and other.lower() != vm.name.lower():
            raise StateError(
                f"{vm.name} is not started: its disk {path} on {host} is in use by {other}, which may be running; "
                f"stop it first (rocks stop host vm {other})"
            )
    if lease is None or not lease.is_held or lease.host is None:
        return TakeLease()
    if lease.host.lower() == vm.container.name.lower():
        return KeepLease(lease)
    return AskHolder(lease, vm.container.name)


def holder_is_silent(lease: Lease, reason: str) -> StateError:
    """The error of a start while the host of the lease does not answer."""
    return StateError(
        f"{lease.name} is not started: it may still be running on {lease.host}, which does not answer ({reason}). "
        f"Bring {lease.host} back, or when it is certainly off: "
        f'rocks stop host vm {lease.name} force=yes reason="…"'
    )


def holder_cannot_be_asked(lease: Lease, reason: str, *, may_be_off: bool) -> StateError:
    """The error of a start while the host of the lease does not say whether the machine runs, but is not silent."""
    remedy = repair_or_force(
        str(lease.host), f"rocks stop host vm {lease.name} force=yes", may_be_off=may_be_off
    )
    return StateError(
        f"{lease.name} is not started: it may still be running on {lease.host}, which cannot be asked ({reason}), but "
        f"may be on. {remedy}"
    )


def repair_or_force(hosts: str, forced: str, *, may_be_off: bool) -> str:
    """What to do about hosts that are not silent. Only for those that may be off all the same, force is proposed."""
    if not may_be_off:
        return f"Repair that and try again, or switch {hosts} off and try again"
    return f'Repair that and try again, or when {hosts} is certainly off: {forced} host-off=yes reason="…"'


def leases_to_end(steps: Sequence[LeaseStep]) -> dict[str, list[tuple[str, int]]]:
    """Host → (name, token) of the leases that end there, unless their domains run, before new ones are taken.

    The lease of an interrupted start on the same host, or of a saved machine, does not end: it is continued.
    """
    found: dict[str, list[tuple[str, int]]] = {}
    for step in steps:
        if (
            isinstance(step, TakeLease)
            or step.lease.host is None
            or continues(step)
            or step.lease.state == SAVED
        ):
            continue
        found.setdefault(step.lease.host, []).append((step.lease.name, step.lease.token))
    return found


def continues(step: LeaseStep | None) -> bool:
    """Whether the step continues an interrupted start, or a saved machine, on the same host, under its lease."""
    return isinstance(step, KeepLease) and step.lease.state in (STARTING, SAVED)


def saved_elsewhere(lease: Lease, host: str) -> StateError:
    """The error of a start on another host than the one where the machine is saved."""
    return StateError(
        f"{lease.name} is saved on {lease.host}, and its memory is there alone: rocks set host vm {lease.name} "
        f"physnode={lease.host} lets it continue there; to start it on {host}, discard what its guest had in memory: "
        f"rocks stop host vm {lease.name} saved=remove"
    )


def must_be_restored(lease: Lease) -> StateError:
    """The error of what a saved machine cannot do before it continues."""
    return StateError(
        f"{lease.name} is saved on {lease.host}; rocks restore host vm {lease.name} continues it"
    )


def move_was_interrupted(lease: Lease) -> StateError:
    """The error of a command on a machine whose live migration has not ended."""
    return StateError(
        f"{lease.name} was moving from {lease.host} to {lease.target} when the command was interrupted; complete or "
        f"undo that first: rocks move host vm {lease.name} {lease.target} live=yes",
        code=Code.MOVE_INTERRUPTED,
    )


def target_answers(lease: Lease, reason: str, *, may_be_off: bool) -> StateError:
    """The error of giving up a live migration whose new host is not silent, but does not say where the machine is."""
    how = " with host-off=yes" if may_be_off else ""
    return StateError(
        f"{lease.name} was moving from {lease.host} to {lease.target}, which may run it. {lease.target} is not silent, "
        f"but does not say so ({reason}). Repair that, then: rocks move host vm {lease.name} {lease.target} live=yes; "
        f"or switch {lease.target} off, and repeat this command{how}"
    )


def disk_may_be_old(lease: Lease, *, has_arrived: bool, paths: Sequence[str]) -> str:
    """What an operator loses who gives up a live migration whose new host may have run, or has run, the machine."""
    files = f"{', '.join(paths)} on {lease.target}" if paths else f"that of {lease.target}"
    old = (
        f"its disk on {lease.host} is old, and the current one is {files}. {lease.name} neither starts nor moves "
        f"until you have decided. To use the disk there, when {lease.target} is back: rocks move host vm {lease.name} "
        f"{lease.target} disks=there; to keep that of {lease.host}: rocks move host vm {lease.name} {lease.host} "
        "disks=there"
    )
    if has_arrived:
        return f"Warning: {lease.name} ran on {lease.target} since it left {lease.host}. So {old}"
    return f"Warning: {lease.name} may have run on {lease.target} since it left {lease.host}. Then {old}"


def saved_with_images(name: str, host: str | None) -> StateError:
    """The error of a command that would take an image from the host where its machine is saved."""
    return StateError(
        f"{name} is saved on {host}, and its memory belongs to its images, which stay there: rocks restore host vm "
        f"{name} continues it, rocks stop host vm {name} saved=remove discards what its guest had in memory"
    )


def still_at_work(lease: Lease) -> BusyError:
    """The error of a start while the host of the lease reports neither that the domain runs nor that it cannot."""
    return BusyError(
        f"{lease.name} is not started: another request is still at work on it on {lease.host}; try again when it has "
        f"ended, or stop it first: rocks stop host vm {lease.name}"
    )


def holders_to_ask(steps: Sequence[LeaseStep]) -> set[str]:
    """Hosts that must be asked besides the containers: the holders of leases that move to another host."""
    return {step.lease.host for step in steps if isinstance(step, AskHolder) and step.lease.host}


def holders_of(steps: Sequence[LeaseStep]) -> set[str]:
    """Hosts that must be asked before their leases are used again: the holders of all that are held."""
    return {step.lease.host for step in steps if not isinstance(step, TakeLease) and step.lease.host}


# Where a machine is whose live migration has ended or was interrupted, by what both hosts report.


def domain_on(answer: HostFacts | RocksError, name: str) -> DomainFact | None:
    """The domain on the host; None when there is none, or the host does not answer."""
    if isinstance(answer, RocksError):
        return None
    return next((domain for domain in answer.domains if domain.name.lower() == name.lower()), None)


def is_off_on_both(
    name: str, host: str | None, target: str | None, facts: Mapping[str, HostFacts | RocksError | None]
) -> bool:
    """Whether both hosts of a live migration answer, and the guest is off on both: nobody will complete it."""
    answers = [facts.get(place) for place in (host or "", target or "")]
    return all(
        answer is not None and not isinstance(answer, RocksError) and not is_active(answer, name)
        for answer in answers
    )


def has_arrived(lease: Lease, here: HostFacts | RocksError, there: HostFacts | RocksError) -> bool | None:
    """Whether the machine is that of the new host now; None when nobody knows.

    `here` and `there` are what the old and the new host report when nothing works on the migration any more, or why
    that is not known. `here` has the leases that the host remembers.

    A guest that runs on its old host runs there alone, whatever the new one reports: libvirt paused it there before
    the other one could be resumed. A domain that the new host has kept at the end has arrived, also when it is off or
    paused by now. The old host has ended the lease only when libvirt had moved the machine.
    """
    left_behind, found = domain_on(here, lease.name), domain_on(there, lease.name)
    if left_behind is not None and left_behind.state in GUEST_RUNS:
        return False
    if found is not None and found.token == lease.token:
        return True
    if not isinstance(here, RocksError) and left_behind is None:
        remembered = {fact.name.lower(): fact.token for fact in here.leases}
        if remembered.get(lease.name.lower(), 0) > lease.token:
            return True
    return None if isinstance(there, RocksError) else False
