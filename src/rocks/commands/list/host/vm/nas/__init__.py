"""`rocks list host vm nas`"""

import rocks.commands
from rocks.storage.volumes.place_records import disk_locations

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    List the NAS and pool of each disk of virtual machines, one row per disk in the order of disk numbers.

    <shared names='any-machines'/>

    <example cmd='list host vm nas'>
    All virtual machines.
    </example>
    <example cmd='list host vm nas vm-vc1-0 output-header=no'>
    NAS and pool of one machine, separated by a blank.
    </example>

    <related>set host vm nas</related>
    <related>list host vm</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the rows."""
        names = self.getHostnames(args) if args else None
        rows = ((one.vm, one.nas or None, one.zpool or None) for one in disk_locations(self.db, names))
        self.addTable(("vm-host", "nas", "zpool"), rows)
