"""`rocks remove host bootflags`"""

import rocks.commands
from rocks.install.boot.actions import delete_boot_flags


class Command(rocks.commands.Command):
    """
    Remove the kernel's boot flags of hosts. Without a host, remove those for all hosts, and the hosts' own stay.

    <shared command='set host bootflags' names='host'/>

    <example cmd='remove host bootflags compute-0-0'>
    The host has those for all hosts again.
    </example>
    <example cmd='remove host bootflags'>
    The flags of all hosts that have none of their own.
    </example>

    <related>set host bootflags</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the flags."""
        delete_boot_flags(self.db, self.getHostnames(args) if args else None)
