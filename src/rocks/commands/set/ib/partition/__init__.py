"""`rocks set ib partition`"""

import rocks.commands
from rocks.network.infiniband.partitions import PartitionParameters, set_partition


class Command(rocks.commands.Command):
    """
    Change the InfiniBand partition of a virtual cluster; sync ib partitions applies the change.

    <shared command='add ib partition' names='frontend'/>
    <param type='string' name='pkey' default='unchanged'>
    New key; the machines of the cluster must be stopped.
    </param>
    <param type='string' name='membership' default='unchanged' values='full,limited'>
    full or limited.
    </param>
    <param type='bool' name='ipoib' default='unchanged'>
    Whether opensm creates a broadcast group for IP over InfiniBand.
    </param>

    <example cmd='set ib partition vc1 membership=limited'>
    Let its hosts reach only full members.
    </example>
    <example cmd='set ib partition vc1 ipoib=yes pkey=0x8005'>
    A partition key of your own, with IP over InfiniBand.
    </example>

    <related>add ib partition</related>
    <related>sync ib partitions</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Change the partition."""
        pkey, membership = self.fillTexts("pkey", "membership")
        ipoib = self.fillFlag("ipoib") if params.get("ipoib") is not None else None
        set_partition(self.db, self.getOneHostname(args), PartitionParameters(pkey, membership, ipoib))
