"""`rocks list host vm shape`"""

from __future__ import annotations

import rocks.commands
from rocks.core.errors import StateError
from rocks.core.names import is_like
from rocks.inventory.host_loading import which_are_vms
from rocks.machine.placement import records as shape_leases
from rocks.machine.placement.listing import ShapeRow, shape_rows

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
        rows = shape_rows(shape_leases.all_leases(self.db))
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
