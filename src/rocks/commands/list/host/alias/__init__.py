"""`rocks list host alias`"""

import rocks.commands
from rocks.inventory.host_records import list_aliases


class Command(rocks.commands.Command):
    """
    List the aliases of hosts.

    <shared names='any-hosts'/>

    <example cmd='list host alias compute-0-0'>
    One host.
    </example>
    <example cmd='list host alias'>
    All hosts.
    </example>

    <related>add host alias</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per alias."""
        rows = list_aliases(self.db, self.getHostnames(args))
        self.addTable(("host", "alias"), rows, trimOwner=False)
