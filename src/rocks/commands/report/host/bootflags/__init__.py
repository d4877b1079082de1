"""`rocks report host bootflags`"""

import rocks.commands
from rocks.install.boot.actions import read_boot_flags


class Command(rocks.commands.Command):
    """
    Report the kernel's boot flags of hosts: their own, else those for all hosts. With several hosts, each line begins
    with the name of the host.

    <shared names='any-hosts'/>

    <example cmd='report host bootflags compute-0-0'>
    One host.
    </example>
    <example cmd='report host bootflags'>
    All hosts.
    </example>

    <related>set host bootflags</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print a line for each host with flags."""
        self.beginOutput()
        default, own = read_boot_flags(self.db)
        for host in self.getHostnames(args):
            flags = own.get(host.lower(), default)
            if flags:
                self.addOutput(host, flags)
        self.endOutput(padChar="")
