"""`rocks remove ib partition`"""

import rocks.commands
from rocks.actions.partitions import remove_partitions


class Command(rocks.commands.Command):
    """
    Take the InfiniBand partitions of virtual clusters away; their machines must be stopped. The keys are free again.

    <arg type='string' name='frontend' repeat='1'>
    The clusters' frontends.
    </arg>

    <example cmd='remove ib partition vc1'>
    vc1 stays, without InfiniBand.
    </example>

    <related>add ib partition</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the partitions."""
        remove_partitions(self.db, self.getSomeHostnames(args))
