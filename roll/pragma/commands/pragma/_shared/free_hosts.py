"""The hosts of virtual machines, and their CPUs that none uses. Hosts are asked apart: one that hangs takes seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import StateError, UserError
from rocks.core.terminal import one_line

from .drivers import OFF
from .site import rows

if TYPE_CHECKING:
    from rocks.commands import Command

    from .site import Row

MAX_COMPUTE_CPUS = 255
"""Of a compute: the most that a virtual machine of the site can have (`rocks set host cpus`)."""

START_LOCK = "pragma start {}"
"""Of a cluster, from its allocation to the end of its boot: its machines have their CPUs, though they are off."""


class FreeHost(NamedTuple):
    """A host and its free CPUs; rack and rank order hosts with as many."""

    name: str
    free_cpus: int
    rack: int = 0
    rank: int = 0


def plan_computes(hosts: Sequence[FreeHost], cpus: int) -> list[tuple[str, int]]:
    """(host, CPUs) of each compute: the hosts with the most free CPUs first, the higher rack and rank among equals.

    Each host used has one compute, with what it has free or what is still needed, at most `MAX_COMPUTE_CPUS`.
    StateError when all have too few.
    """
    ordered = sorted(hosts, key=lambda host: (host.free_cpus, host.rack, host.rank), reverse=True)
    found: list[tuple[str, int]] = []
    needed = cpus
    for host in ordered:
        share = min(host.free_cpus, needed, MAX_COMPUTE_CPUS)
        if share > 0:
            found.append((host.name, share))
            needed -= share
    if needed:
        is_limited = any(host.free_cpus > MAX_COMPUTE_CPUS for host in hosts)
        limit = f" (one compute on each, with {MAX_COMPUTE_CPUS} at most)" if is_limited else ""
        raise StateError(
            f"{cpus} CPUs are not free: the VM containers have {cpus - needed} free{limit}; give fewer, or stop "
            "machines"
        )
    return found


# What the site's commands list, and hosts say.


def ask_hosts(command: Command) -> dict[str, tuple[str, int]]:
    """Machine → its host, and the CPUs that it uses there, as the hosts say now.

    All machines of a silent host count as running, and so do those of a cluster that another boot has allocated.
    """
    # before the machines: a boot that ends in between has started its own
    allocated = _allocated(command, rows(command, "list.cluster"))
    found: dict[str, tuple[str, int]] = {}
    for row in rows(command, "list.host.vm", ["status=yes"]):
        if row["cpus"] is not None:  # others are further interfaces
            is_on = row["status"] not in OFF or row["owner"] in allocated
            cpus = int(str(row["running-cpus"] or row["cpus"]))
            found[str(row["owner"])] = (str(row["running-host"] or row["host"]), cpus * is_on)
    return found


def free_hosts(
    command: Command, reserved: int, named: Sequence[str], asked: Mapping[str, tuple[str, int]]
) -> list[FreeHost]:
    """The hosts of virtual machines, with the CPUs that none uses. No host is asked; `asked` is that of `ask_hosts`.

    Machines that were added since, or that another boot has allocated since, count as running.

    They are those of `add cluster`: hosts with the attribute kvm, the physical frontend only without another; or those
    that are named. StateError for one of these without the attribute, UserError for one that is none.
    """
    used: dict[str, int] = {}
    clusters = rows(command, "list.cluster")
    allocated = _allocated(command, clusters)
    machines = rows(command, "list.host.vm")
    for row in machines:
        if row["cpus"] is not None:
            own = (str(row["host"]), int(str(row["cpus"])))
            host, cpus = asked.get(str(row["owner"]), own)
            if not cpus and row["owner"] in allocated:
                host, cpus = own
            used[host] = used.get(host, 0) + cpus
    virtual = {row["owner"] for row in machines}
    listed = [row for row in rows(command, "list.host") if row["owner"] not in virtual]
    containers = {
        str(row["owner"])
        for row in rows(command, "list.host.attr", [str(row["owner"]) for row in listed])
        if row["attr"] == "kvm" and command.str2bool(str(row["value"]))
    }
    frontends = {str(row["owner"]) for row in clusters if row["type"] == "physical"}
    if unknown := sorted(set(named) - {str(row["owner"]) for row in listed}):
        raise UserError(f"the site has no host {one_line(', '.join(unknown))[:100]}; see rocks list host")
    if missing := sorted(set(named) - containers):
        raise StateError(
            f"{one_line(', '.join(missing))[:100]} cannot run virtual machines; "
            f"rocks set host attr {one_line(' '.join(missing))[:100]} kvm true"
        )
    containers = set(named) or containers - frontends or containers
    return [
        FreeHost(
            str(row["owner"]),
            int(str(row["cpus"] or 0)) - reserved - used.get(str(row["owner"]), 0),
            int(str(row["rack"] or 0)),
            int(str(row["rank"] or 0)),
        )
        for row in listed
        if row["owner"] in containers
    ]


def virtual_frontends(listed: Sequence[Row]) -> list[str]:
    """The virtual frontends in rows of `list cluster`."""
    return sorted({str(row["owner"]) for row in listed if row["type"] == "VM" and not row["client nodes"]})


def _allocated(command: Command, clusters: Sequence[Row]) -> set[str]:
    """The machines of clusters that other commands boot at this moment, in rows of `list cluster`."""
    locks = {START_LOCK.format(name): name for name in virtual_frontends(clusters)}
    booted = {locks[lock] for lock in command.db.locked_by_others(locks)}
    return {str(row["client nodes"] or row["owner"]) for row in clusters if row["owner"] in booted}
