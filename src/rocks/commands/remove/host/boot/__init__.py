"""`rocks remove host boot`"""

import rocks.commands
from rocks.install.boot.actions import remove_next_boot


class Command(rocks.commands.Command):
    """
    Remove the action of hosts at their next boot: they boot the installed system.

    <shared names='hosts,dry-run'/>

    <example cmd='remove host boot compute-0-0'>
    One host.
    </example>
    <example cmd='remove host boot compute'>
    All computes.
    </example>

    <related>set host boot</related>
    <related>list host boot</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the rows and write the boot files anew."""
        remove_next_boot(self.db, self.getSomeHostnames(args))
