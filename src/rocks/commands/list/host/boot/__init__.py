"""`rocks list host boot`"""

import rocks.commands
from rocks.inventory import boot_records as boots


class Command(rocks.commands.Command):
    """
    List the action of each host at its next boot: os, run or install.

    <shared names='any-hosts'/>

    <example cmd='list host boot compute-0-0'>
    One host.
    </example>
    <example cmd='list host boot'>
    All hosts.
    </example>

    <related>set host boot</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per host."""
        self.addTable(("host", "action"), boots.list_boots(self.db, self.getHostnames(args)))
