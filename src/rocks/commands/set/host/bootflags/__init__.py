"""`rocks set host bootflags`"""

import rocks.commands
from rocks.install.boot.actions import set_boot_flags


class Command(rocks.commands.Command):
    """
    Set the kernel's boot flags of hosts. Without a host, set those of all hosts that have none of their own. The roll's
    installer writes them into the boot loader of a host that it installs.

    <arg optional='1' type='string' name='host' repeat='1' default='the flags for all hosts'>
    Hosts, by name or any other selector.
    </arg>
    <param type='string' name='flags' optional='0'>
    Arguments of the kernel, in quotes if they contain blanks.
    </param>

    <example cmd='set host bootflags compute-0-0 flags="mem=1024M"'>
    One host.
    </example>
    <example cmd='set host bootflags flags="console=ttyS0"'>
    All hosts without flags of their own.
    </example>

    <related>report host bootflags</related>
    <related>remove host bootflags</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Store the flags."""
        flags = self.fillText("flags", "")
        if not flags:
            self.abort("must supply flags; rocks remove host bootflags removes them")
        set_boot_flags(self.db, self.getHostnames(args) if args else None, flags)
