"""`rocks dump host vm nas`"""

import rocks.commands.dump
from rocks.storage.volumes.place_records import disk_locations

RollName = "img-storage"


class Command(rocks.commands.dump.command):
    """
    Print the commands that assign the disks of virtual machines to NASes and pools.

    <shared names='any-machines'/>

    <example cmd='dump host vm nas'>
    All virtual machines.
    </example>
    <example cmd='dump host vm nas vm-vc1-0'>
    One machine.
    </example>

    <related>dump host vm</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print a line for each disk on a NAS; the number of the first disk is omitted."""
        for disk in disk_locations(self.db, self.getHostnames(args) if args else None):
            if disk.nas:
                values = (("nas", disk.nas), ("zpool", disk.zpool), ("index", str(disk.number or "")))
                arguments = [f"{name}={value}" for name, value in values if value]
                self.dump("set", "host", "vm", "nas", disk.vm, *arguments)
