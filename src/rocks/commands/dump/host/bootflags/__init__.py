"""`rocks dump host bootflags`"""

import rocks.commands.dump
from rocks.install.boot.actions import read_boot_flags


class Command(rocks.commands.dump.command):
    """
    Print the commands that set the kernel's boot flags of hosts, and without a host also those for all hosts.

    <shared names='any-hosts'/>

    <example cmd='dump host bootflags'>
    All flags.
    </example>
    <example cmd='dump host bootflags compute-0-0'>
    One host.
    </example>

    <related>set host bootflags</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print a line for each host with flags of its own."""
        default, own = read_boot_flags(self.db)
        if default and not args:
            self.dump("set", "host", "bootflags", f"flags={default}")
        for host in self.getHostnames(args):
            if own.get(host.lower()):
                self.dump("set", "host", "bootflags", host, f"flags={own[host.lower()]}")
