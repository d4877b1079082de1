"""Say how many virtual functions (SR-IOV) an adapter of hosts gives to virtual machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.actions.set_interface import find_rows
from rocks.cluster.values import read_number
from rocks.cluster.vf_plan import MOST_FUNCTIONS, vfs_left
from rocks.database import virtual_functions as table
from rocks.database.vms import which_are_vms
from rocks.errors import StateError, UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


def set_vfs(database: Database, hosts: Sequence[str], iface: str, functions: str) -> None:
    """Record that the interface of each host gives so many functions; 0: none. Hosts are not asked.

    UserError for a number that is none, a host without that interface, one that is a virtual machine, or an interface
    that is no adapter; StateError while a machine has a function that would be no more; then nothing is changed.
    """
    number = read_number("functions", functions, 0, MOST_FUNCTIONS)
    for machine in which_are_vms(database, hosts):
        raise UserError(
            f"host {machine} is a virtual machine: functions are those of a physical host's adapter; an interface of "
            f"{machine} asks for one by rocks set host interface options {machine} IFACE sriov"
        )
    rows = find_rows(database, hosts, iface)
    for row in rows:
        if not row.device or row.device.startswith("vlan"):
            raise UserError(
                f'interface "{iface}" of host {row.host} is no adapter: name a physical device, which rocks list host '
                f"interface {row.host} shows"
            )
    table.adapters_of(database, hosts, lock=True)
    given = table.assigned_on(database, hosts)
    for row in rows:
        mine = [one for one in given if one.host.lower() == row.host.lower()]
        for left in vfs_left(mine, row.device or "", number):
            raise StateError(
                f"{left.name} may be using function {left.number} of {row.device} on {row.host}: stop it first (rocks "
                f"stop host vm {left.name}), or give at least {left.number + 1}"
            )
    table.set_vfs(database, [row.id for row in rows], number)
