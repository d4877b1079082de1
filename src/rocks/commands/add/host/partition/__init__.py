"""`rocks add host partition`"""

import rocks.commands
from rocks.inventory.disks.partition_rules import DiskPartition
from rocks.inventory.disks.partitions import add_disk_partition


class Command(rocks.commands.Command):
    """
    Add a partition of a disk of a host to the database. Nothing is done on the host, and rocks save host partitions
    replaces the partitions by those that the host reports.

    <shared names='one-host'/>
    <param type='string' name='device' default='empty' of='none'>
    Device, without /dev.
    </param>
    <param type='string' name='mountpoint' default='empty'>
    Where it is mounted, or swap.
    </param>
    <param type='string' name='start' default='empty' unit='sectors of 512 bytes'>
    First sector.
    </param>
    <param type='string' name='size' default='empty' unit='KB, MB, GB, TB or PB'>
    Size, a number followed by its unit.
    </param>
    <param type='string' name='id' default='empty'>
    Type in the partition table.
    </param>
    <param type='string' name='type' default='empty'>
    File system.
    </param>
    <param type='string' name='flags' default='empty'>
    Flags in the partition table.
    </param>
    <param type='string' name='formatflags' default='empty'>
    Flags with which the file system was made.
    </param>

    <example cmd='add host partition compute-0-0 device=sda5 mountpoint=/state/partition1 size=102400MB'>
    A partition for disk images.
    </example>
    <example cmd='add host partition compute-0-0 device=sda1 mountpoint=/ size=20480MB type=ext4 formatflags="-L root"'>
    The root file system, with its type and the options with which it is made.
    </example>

    <related>list host partition</related>
    <related>save host partitions</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Add the partition."""
        names = ("device", "mountpoint", "start", "size", "id", "type", "flags", "formatflags")
        partition = DiskPartition(*(value or "" for value in self.fillTexts(*names)))
        add_disk_partition(self.db, self.getOneHostname(args), partition)
