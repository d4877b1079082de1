"""`rocks list host`"""

import rocks.commands
from rocks.database import hosts


class Command(rocks.commands.Command):
    """
    List the hosts: membership, CPUs, rack and rank, and the actions that decide how they boot.

    <arg optional='1' type='string' name='host' repeat='1'>
    Hosts, by name or any other selector; all when none is given.
    </arg>

    <example cmd='list host compute-0-0'>
    One host.
    </example>
    <example cmd='list host'>
    All hosts.
    </example>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row a host."""
        self.beginOutput()
        for owner, *cells in hosts.list_hosts(self.db, self.getHostnames(args) if args else None):
            self.addOutput(owner, cells)
        self.endOutput(header=("host", "membership", "cpus", "rack", "rank", "runaction", "installaction"))
