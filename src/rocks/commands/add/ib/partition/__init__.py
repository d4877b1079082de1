"""`rocks add ib partition`"""

import rocks.commands
from rocks.actions.partitions import PartitionParameters, add_partition
from rocks.cluster.pkeys import pkey_text


class Command(rocks.commands.Command):
    """
    Give a virtual cluster an InfiniBand partition of its own. add cluster does it by itself where the attribute
    ib_pkey_pool is set; this is for clusters that are there already. Machines that run get it with their next start.

    <arg type='string' name='frontend'>
    The cluster's frontend.
    </arg>
    <param type='string' name='pkey'>
    The key, 0x0001 to 0x7ffe; by default the lowest free one of the pool ib_pkey_pool.
    </param>
    <param type='string' name='membership'>
    full (the default), or limited: its hosts reach full members only, which your own lines in partitions.conf name.
    </param>
    <param type='bool' name='ipoib'>
    no: opensm makes no broadcast group for IP over InfiniBand.
    </param>

    <example cmd='add ib partition vc1'>
    The next key of the pool; it is printed.
    </example>
    <example cmd='add ib partition vc1 pkey=0x0123 ipoib=no'>
    This key, without IPoIB.
    </example>

    <related>list ib partition</related>
    <related>set ib partition</related>
    <related>sync ib partitions</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Add the partition and print its key."""
        pkey, membership = self.fillParams([("pkey", None), ("membership", None)])
        words = PartitionParameters(pkey, membership, self.fillFlag("ipoib", True))
        partition = add_partition(self.db, self.getOneHostname(args), words)
        self.addText(f"{partition.frontend}: {pkey_text(partition.pkey)}\n")
