"""`rocks dump host partition`"""

import rocks.commands.dump
from rocks.inventory.disks.partitions import list_disk_partitions


class Command(rocks.commands.dump.command):
    """
    Print the commands that add the partitions of hosts' disks.

    <shared names='any-hosts'/>

    <example cmd='dump host partition'>
    Print one shell command per partition.
    </example>
    <example cmd='dump host partition compute-0-0'>
    One host.
    </example>

    <related>add host partition</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one command per partition."""
        names = ("device", "mountpoint", "start", "size", "id", "type", "flags", "formatflags")
        for host, partition in list_disk_partitions(self.db, self.getHostnames(args)):
            given = (f"{name}={value}" for name, value in zip(names, partition, strict=True) if value)
            self.dump("add", "host", "partition", host, *given)
