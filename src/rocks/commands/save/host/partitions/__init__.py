"""`rocks save host partitions`"""

import rocks.commands
from rocks.inventory.disks.partitions import save_disk_partitions


class Command(rocks.commands.Command):
    """
    Ask hosts for the partitions of their disks, and store them in the database in place of those that it has. A host
    that does not respond keeps those that it has.

    <arg optional='1' type='string' name='host' repeat='1' default='this machine'>
    Hosts, by name or any other selector.
    </arg>

    <example cmd='save host partitions'>
    Store the partitions of this machine.
    </example>
    <example cmd='save host partitions vm-container'>
    Store those of all VM containers.
    </example>

    <related>list host partition</related>
    <related>remove host partition</related>
    """

    NoDryRun = "it changes no host: it asks hosts for their partitions, and stores the answers"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Store the partitions and report the hosts that failed."""
        hosts = self.getHostnames(args or ["localhost"])
        self.endOutcomes(save_disk_partitions(self.db, hosts), len(hosts))
