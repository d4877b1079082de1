"""`rocks dump host boot`"""

import rocks.commands.dump
from rocks.inventory import boot_records as boots


class Command(rocks.commands.dump.command):
    """
    Print the commands that set the next boot of hosts.

    <shared names='any-hosts'/>

    <example cmd='dump host boot compute-0-0'>
    One host.
    </example>
    <example cmd='dump host boot'>
    All hosts.
    </example>

    <related>set host boot</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one line for each host that has a next boot."""
        for host, action in boots.list_boots(self.db, self.getHostnames(args)):
            if action is not None:
                self.dump("set", "host", "boot", str(host), f"action={action}")
