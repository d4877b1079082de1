"""`rocks set ib partition`"""

import rocks.commands
from rocks.actions.partitions import PartitionParameters, set_partition


class Command(rocks.commands.Command):
    """
    Change the InfiniBand partition of a virtual cluster; sync ib partitions brings it into force.

    <arg type='string' name='frontend'>
    The cluster's frontend.
    </arg>
    <param type='string' name='pkey'>
    Another key; the cluster's machines must be stopped.
    </param>
    <param type='string' name='membership'>
    full or limited.
    </param>
    <param type='bool' name='ipoib'>
    Whether opensm makes a broadcast group for IP over InfiniBand.
    </param>

    <example cmd='set ib partition vc1 membership=limited'>
    Its hosts reach full members only.
    </example>

    <related>add ib partition</related>
    <related>sync ib partitions</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Change the partition."""
        pkey, membership = self.fillParams([("pkey", None), ("membership", None)])
        ipoib = self.fillFlag("ipoib") if params.get("ipoib") is not None else None
        set_partition(self.db, self.getOneHostname(args), PartitionParameters(pkey, membership, ipoib))
