"""`rocks dump host sriov`"""

import rocks.commands.dump
from rocks.network.sriov.adapters import adapters_of


class Command(rocks.commands.dump.command):
    """
    Print the commands that set the numbers of virtual functions of adapters.

    <shared names='any-hosts'/>

    <example cmd='dump host sriov'>
    All hosts.
    </example>
    <example cmd='dump host sriov vmc-0-0'>
    One host.
    </example>

    <related>dump host interface</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print a line for each adapter with functions."""
        for row in adapters_of(self.db, self.getHostnames(args)):
            self.dump("set", "host", "sriov", row.host, row.device, str(row.vfs))
