"""`rocks list host appliance`"""

import rocks.commands
from rocks.inventory.hosts import list_host_memberships


class Command(rocks.commands.Command):
    """
    List the appliance of each host.

    <shared names='any-hosts'/>

    <example cmd='list host appliance compute-0-0'>
    One host.
    </example>
    <example cmd='list host appliance'>
    All hosts.
    </example>

    <related>list host membership</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per host."""
        found = list_host_memberships(self.db, self.getHostnames(args))
        self.addTable(("host", "appliance"), ((host, appliance) for host, _, appliance in found))
