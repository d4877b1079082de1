"""`rocks remove host partition`"""

import rocks.commands
from rocks.inventory.disks.partitions import remove_disk_partitions


class Command(rocks.commands.Command):
    """
    Remove partitions of hosts' disks from the database. Nothing is done on the hosts.

    <shared names='hosts'/>
    <param type='string' name='device' default='all' of='disk'>
    Only the partition on this device, without /dev.
    </param>
    <param type='string' name='partition' default='all' of='mountpoint'>
    Only the partition with this mount point.
    </param>

    <example cmd='remove host partition compute-0-0'>
    All partitions of one host.
    </example>
    <example cmd='remove host partition compute-0-0 partition=/export'>
    One partition.
    </example>

    <related>list host partition</related>
    <related>save host partitions</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the partitions."""
        remove_disk_partitions(self.db, self.getSomeHostnames(args), *self.fillTexts("device", "partition"))
