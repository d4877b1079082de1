"""`rocks remove host vm nas`"""

import rocks.commands
from rocks.machine.volumes import remove_vm_nas

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Remove the assignment of disks of virtual machines to a NAS. The volumes on the NAS remain. The machine then
    uses the disks that rocks list host vm showdisks=yes lists. If the machine was started with the NAS, these
    are the devices of its images, which do not exist at the next start: assign other disks with rocks set host
    vm disk=. The command fails for a machine that may be running, because its image could not be written back.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector. Hosts that are not virtual machines are skipped.
    </arg>

    <example cmd='remove host vm nas vm-vc1-0'>
    All disks of one machine.
    </example>
    <example cmd='remove host vm nas vm-vc1-0 vm-vc1-1'>
    Two machines.
    </example>

    <related>set host vm nas</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the assignment."""
        remove_vm_nas(self.db, self.getSomeHostnames(args))
