"""`rocks list ib partition`"""

import rocks.commands
from rocks.network.infiniband.partitions import read_partitions, running_under
from rocks.network.infiniband.pkeys import pkey_text


class Command(rocks.commands.Command):
    """
    List the InfiniBand partitions of virtual clusters: key, membership, IPoIB, and the hosts whose ports are
    members because machines of the cluster run there.

    <arg optional='1' type='string' name='frontend' repeat='1' default='all'>
    Frontends of clusters.
    </arg>

    <example cmd='list ib partition'>
    All partitions.
    </example>
    <example cmd='list ib partition vc1'>
    One cluster.
    </example>

    <related>add ib partition</related>
    <related>list host ibport</related>
    <related>report ib partitions</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per partition."""
        partitions = read_partitions(self.db, self.getHostnames(args) if args else None)
        running = running_under(self.db, [partition.pkey for partition in partitions])
        self.beginOutput()
        for name, pkey, membership, has_ipoib in partitions:
            hosts = sorted({host for key, _, host in running if key == pkey})
            self.addOutput(name, (pkey_text(pkey), membership, self.bool2str(has_ipoib), " ".join(hosts)))
        self.endOutput(header=("frontend", "pkey", "membership", "ipoib", "hosts"), trimOwner=False)
