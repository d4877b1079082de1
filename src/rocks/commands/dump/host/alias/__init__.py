"""`rocks dump host alias`"""

import rocks.commands.dump
from rocks.inventory.host_records import list_aliases


class Command(rocks.commands.dump.command):
    """
    Print the commands that add the aliases of hosts.

    <shared names='any-hosts'/>

    <example cmd='dump host alias'>
    Print one shell command per alias.
    </example>
    <example cmd='dump host alias compute-0-0'>
    One host.
    </example>

    <related>add host alias</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one command per alias."""
        for host, alias in list_aliases(self.db, self.getHostnames(args)):
            self.dump("add", "host", "alias", str(host), str(alias))
