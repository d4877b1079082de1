"""`rocks set host rank`"""

import rocks.commands
from rocks.actions.hosts import set_rank


class Command(rocks.commands.Command):
    """
    Set the place of hosts in their rack.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>
    <arg type='int' name='rank'>
    The place. May be given as rank=…
    </arg>

    <example cmd='set host rank compute-0-0 7'>
    It is the one of rank 7.
    </example>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Set it for all these hosts at once."""
        hosts, rank = self.fillPositionalArgs(("rank",))
        if not rank:
            self.abort("must supply rank")
        set_rank(self.db, self.getSomeHostnames(hosts), rank)
