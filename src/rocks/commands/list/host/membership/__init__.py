"""`rocks list host membership`"""

import rocks.commands
from rocks.inventory.hosts import list_host_memberships


class Command(rocks.commands.Command):
    """
    List the membership of each host.

    <shared names='any-hosts'/>

    <example cmd='list host membership compute-0-0'>
    One host.
    </example>
    <example cmd='list host membership'>
    All hosts.
    </example>

    <related>set host membership</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per host."""
        found = list_host_memberships(self.db, self.getHostnames(args))
        self.addTable(("host", "membership"), ((host, membership) for host, membership, _ in found))
