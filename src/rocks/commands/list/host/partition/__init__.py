"""`rocks list host partition`"""

from itertools import groupby
from operator import itemgetter

import rocks.commands
from rocks.inventory.disks.partition_rules import largest_partition
from rocks.inventory.disks.partitions import list_disk_partitions


class Command(rocks.commands.Command):
    """
    List the partitions of hosts' disks that are in the database. A virtual machine's disk is by default an image on the
    largest partition of its host.

    <shared names='any-hosts'/>
    <param type='bool' name='bigmnt' default='no'>
    Print only the mount point of the largest partition of each host.
    </param>

    <example cmd='list host partition compute-0-0'>
    One host.
    </example>
    <example cmd='list host partition compute-0-0 bigmnt=yes'>
    The mount point of its largest partition.
    </example>

    <related>save host partitions</related>
    <related>remove host partition</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per partition."""
        found = list_disk_partitions(self.db, self.getHostnames(args))
        self.beginOutput()
        if self.fillFlag("bigmnt"):
            for host, of_host in groupby(found, itemgetter(0)):
                mount = largest_partition((one.mount_point, one.size) for _, one in of_host)
                if mount is not None:
                    self.addOutput(host, mount)
            self.endOutput(padChar="")
            return
        for host, partition in found:
            self.addOutput(host, tuple(partition))
        header = ("host", "device", "mountpoint", "start", "size", "id", "type", "flags", "formatflags")
        self.endOutput(header=header)
