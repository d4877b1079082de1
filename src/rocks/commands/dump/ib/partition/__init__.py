"""`rocks dump ib partition`"""

import rocks.commands.dump
from rocks.network.infiniband.partitions import read_partitions
from rocks.network.infiniband.pkeys import pkey_text


class Command(rocks.commands.dump.command):
    """
    Print the commands that assign InfiniBand partitions to virtual clusters.

    <shared command='list ib partition' names='frontend'/>

    <example cmd='dump ib partition'>
    Print one shell command per line.
    </example>
    <example cmd='dump ib partition vc1'>
    One cluster.
    </example>

    <related>add ib partition</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one command per partition."""
        for name, pkey, membership, has_ipoib in read_partitions(
            self.db, self.getHostnames(args) if args else None
        ):
            arguments = (
                f"pkey={pkey_text(pkey)}",
                f"membership={membership}",
                f"ipoib={self.bool2str(has_ipoib)}",
            )
            self.dump("add", "ib", "partition", name, *arguments)
