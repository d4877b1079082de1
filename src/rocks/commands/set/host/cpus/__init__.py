"""`rocks set host cpus`"""

import rocks.commands
from rocks.actions.hosts import set_cpus


class Command(rocks.commands.Command):
    """
    Set the number of CPUs of hosts.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>
    <arg type='int' name='cpus'>
    The number, at least 1. May be given as cpus=…
    </arg>

    <example cmd='set host cpus compute-0-0 4'>
    It has four.
    </example>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Set it for all these hosts at once."""
        hosts, cpus = self.fillPositionalArgs(("cpus",))
        if not cpus:
            self.abort("must supply cpus")
        set_cpus(self.db, self.getSomeHostnames(hosts), cpus)
