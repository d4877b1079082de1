"""`rocks set host runaction`"""

import rocks.commands
from rocks.actions.hosts import set_run_action


class Command(rocks.commands.Command):
    """
    Set the boot action by which hosts run.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>
    <arg type='string' name='action'>
    Name of the boot action, none for no action. May be given as action=…
    </arg>

    <example cmd='set host runaction compute-0-0 os'>
    It boots from its disk.
    </example>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Set it for all these hosts at once."""
        hosts, action = self.fillPositionalArgs(("action",))
        if not action:
            self.abort("must supply action")
        set_run_action(self.db, self.getSomeHostnames(hosts), action)
