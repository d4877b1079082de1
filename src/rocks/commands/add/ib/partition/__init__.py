"""`rocks add ib partition`"""

import rocks.commands
from rocks.network.infiniband.partitions import PartitionParameters, add_partition
from rocks.network.infiniband.pkeys import pkey_text


class Command(rocks.commands.Command):
    """
    Assign an InfiniBand partition to a virtual cluster. add cluster does this automatically if the attribute
    ib_pkey_pool is set; use this command for existing clusters. Running machines join the partition at their
    next start.

    <arg type='string' name='frontend'>
    Frontend of the cluster.
    </arg>
    <param type='string' name='pkey' default='the lowest free key of the pool ib_pkey_pool'>
    Partition key (P_Key), 0x0001 to 0x7ffe.
    </param>
    <param type='string' name='membership' default='full' values='full,limited'>
    full or limited. The hosts of a limited partition reach only full members, which you declare in your own
    lines of partitions.conf.
    </param>
    <param type='bool' name='ipoib' default='yes'>
    no: opensm creates no broadcast group for IP over InfiniBand.
    </param>

    <example cmd='add ib partition vc1'>
    Assign the next key of the pool and print it.
    </example>
    <example cmd='add ib partition vc1 pkey=0x0123 ipoib=no'>
    Assign this key, without IPoIB.
    </example>

    <related>list ib partition</related>
    <related>set ib partition</related>
    <related>sync ib partitions</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Add the partition and print its key."""
        pkey, membership = self.fillTexts("pkey", "membership")
        parameters = PartitionParameters(pkey, membership, self.fillFlag("ipoib", True))
        partition = add_partition(self.db, self.getOneHostname(args), parameters)
        self.addText(f"{partition.frontend}: {pkey_text(partition.pkey)}\n")
