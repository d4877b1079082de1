"""`rocks remove ib partition`"""

import rocks.commands
from rocks.network.infiniband.partitions import remove_partitions


class Command(rocks.commands.Command):
    """
    Remove the InfiniBand partitions of virtual clusters. The machines of the clusters must be stopped. The keys
    become free.

    <arg type='string' name='frontend' repeat='1'>
    Frontends of the clusters.
    </arg>

    <example cmd='remove ib partition vc1'>
    Keep vc1, without InfiniBand.
    </example>
    <example cmd='remove ib partition vc1 vc2'>
    Two clusters.
    </example>

    <related>add ib partition</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the partitions."""
        remove_partitions(self.db, self.getSomeHostnames(args))
