"""`rocks set host rack`"""

import rocks.commands
from rocks.actions.hosts import set_rack


class Command(rocks.commands.Command):
    """
    Set the rack in which hosts stand.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>
    <arg type='int' name='rack'>
    The rack's number. May be given as rack=…
    </arg>

    <example cmd='set host rack compute-0-0 1'>
    It moved to rack 1.
    </example>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Set it for all these hosts at once."""
        hosts, rack = self.fillPositionalArgs(("rack",))
        if not rack:
            self.abort("must supply rack")
        set_rack(self.db, self.getSomeHostnames(hosts), rack)
