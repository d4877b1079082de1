"""`rocks set host membership`"""

import rocks.commands
from rocks.actions.hosts import set_membership


class Command(rocks.commands.Command):
    """
    Make hosts members of another kind.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>
    <arg type='string' name='membership'>
    Name of the membership. May be given as membership=…
    </arg>

    <example cmd='set host membership compute-0-0 "VM Container"'>
    It runs virtual machines from now on.
    </example>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Set it for all these hosts at once."""
        hosts, membership = self.fillPositionalArgs(("membership",))
        if not membership:
            self.abort("must supply membership")
        set_membership(self.db, self.getSomeHostnames(hosts), membership)
