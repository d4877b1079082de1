"""`rocks list host`"""

import os
from collections.abc import Collection

import rocks.commands
from rocks.core.errors import UserError
from rocks.inventory.host_records import list_hosts

HEADER = ("host", "membership", "cpus", "rack", "rank", "runaction", "installaction")
STATUS_HEADER = ("system", "qemu")


class Command(rocks.commands.Command):
    """
    List the hosts with membership, CPUs, rack, rank, and the boot actions for running and installing.

    <shared names='any-hosts'/>
    <param type='bool' name='status' default='no'>
    yes (root): query the VM containers for their operating system and the version of their QEMU; a machine that runs
    does not move to an older one. Both are empty for a host that did not respond within 5 seconds.
    </param>

    <example cmd='list host compute-0-0'>
    One host.
    </example>
    <example cmd='list host'>
    All hosts.
    </example>
    <example cmd='list host status=yes'>
    All hosts, with release and QEMU of those that run machines.
    </example>

    <related>add host</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per host."""
        with_status = self.fillFlag("status")
        header: tuple[str, ...] = HEADER
        rows = list_hosts(self.db, self.getHostnames(args) if args else None)
        if with_status:
            header += STATUS_HEADER
            systems = self._systems([str(row[0]) for row in rows])
            rows = [(*row, *systems.get(str(row[0]), (None, None))) for row in rows]
        self.addTable(header, rows)

    def _systems(self, names: Collection[str]) -> dict[str, tuple[str | None, str | None]]:
        if os.geteuid() != 0:
            raise UserError("only root can ask the hosts: sudo rocks list host status=yes")
        # a plain list of hosts loads none of these
        from rocks.inventory.loaded_host_records import load_hosts, physical_hosts
        from rocks.machine.listing import read_host_facts

        containers = [
            host.name
            for host in load_hosts(self.db, physical_hosts(self.db))
            if host.name in names and host.is_true("kvm")
        ]
        found, failed = read_host_facts(self.db, containers)
        for host, error in failed.items():
            self.notify(f"Warning: release and QEMU of {host} are unknown: {error}")
        return {host: (facts.system or None, facts.qemu or None) for host, facts in found.items()}
