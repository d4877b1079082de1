"""`rocks list host vm shape`"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import rocks.commands
from rocks.core.errors import StateError
from rocks.core.names import is_like
from rocks.core.values import KIB_PER_MB
from rocks.inventory.loaded_host_records import which_are_vms
from rocks.machine.placement import ORDINARY_KB, PAGE_NAMES, write_cpu_set
from rocks.machine.placement_records import all_leases

if TYPE_CHECKING:
    from rocks.machine.placement import PageRow, ShapeLeases


HEADER = ("vm-host", "host", "cpus", "memory", "devices")

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    List what virtual machines have of their hosts for themselves: CPUs of whole cores, memory of NUMA nodes, and
    PCI devices. A machine has them from its start until its host has confirmed that it is off.

    MEMORY is the memory that is bound to a NUMA node, with the size of its pages: 8192 MB in 1G on node 0.

    <arg optional='1' type='string' name='name' repeat='1' default='all' of='lease'>
    Names of virtual machines, also of removed ones, or patterns such as vm-vc1-%. A named machine is listed in any
    case, others only when they have something.
    </arg>

    <example cmd='list host vm shape'>
    All machines that have something for themselves.
    </example>
    <example cmd='list host vm shape vm-vc1-0'>
    One machine.
    </example>
    <related>start host vm</related>
    <related>list host vm lease</related>
    <related>list host sriov</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per machine and host."""
        rows = _shape_rows(all_leases(self.db))
        named = [
            name for name in args if "%" not in name and not any(is_like(row.name, name) for row in rows)
        ]
        without = which_are_vms(self.db, named)
        for name in named:
            if name.lower() not in (vm.lower() for vm in without):
                raise StateError(f"there is no virtual machine {name}; rocks list host vm lists them")
        rows += [ShapeRow(name, None, None, None, None) for name in without]
        self.beginOutput()
        for row in rows:
            if not args or row.name in without or any(is_like(row.name, name) for name in args):
                self.addOutput(row.name, row[1:])
        self.endOutput(header=HEADER, trimOwner=False)


class ShapeRow(NamedTuple):
    """A line of the listing; what the machine has none of is None."""

    name: str
    host: str | None
    cpus: str | None
    memory: str | None
    devices: str | None


def _shape_rows(leases: ShapeLeases) -> list[ShapeRow]:
    """One row for each machine and host, by name."""
    holders = {(row.name, row.host) for rows in leases for row in rows}
    return [_row(name, host, leases.on(host)) for name, host in sorted(holders)]


def _row(name: str, host: str, leases: ShapeLeases) -> ShapeRow:
    cpus = write_cpu_set(row.cpu for row in leases.cores if row.name == name)
    memory = ", ".join(_memory(row) for row in leases.pages if row.name == name)
    devices = ", ".join(f"{row.pool} {row.address}" for row in leases.devices if row.name == name)
    return ShapeRow(name, host, cpus or None, memory or None, devices or None)


def _memory(row: PageRow) -> str:
    size = "" if row.size_kb == ORDINARY_KB else f" in {PAGE_NAMES.get(row.size_kb, f'{row.size_kb} KiB')}"
    return f"{row.pages * row.size_kb // KIB_PER_MB} MB{size} on node {row.node}"
