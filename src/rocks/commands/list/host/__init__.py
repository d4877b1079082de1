"""`rocks list host`"""

import rocks.commands
from rocks.inventory import host_records as hosts


class Command(rocks.commands.Command):
    """
    List the hosts with membership, CPUs, rack, rank, and the boot actions for running and installing.

    <shared names='any-hosts'/>

    <example cmd='list host compute-0-0'>
    One host.
    </example>
    <example cmd='list host'>
    All hosts.
    </example>

    <related>add host</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per host."""
        header = ("host", "membership", "cpus", "rack", "rank", "runaction", "installaction")
        self.addTable(header, hosts.list_hosts(self.db, self.getHostnames(args) if args else None))
