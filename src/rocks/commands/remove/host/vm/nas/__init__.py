"""`rocks remove host vm nas`"""

import rocks.commands
from rocks.actions.vm_nas import remove_vm_nas

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Forget which NAS keeps the disks of virtual machines. The volumes on the NAS stay. The disks are then what
    rocks list host vm showdisks=yes says: of a machine that was started with the NAS, the devices of its images, which
    its next start does not find; give it other disks by rocks set host vm disk=. A machine that may be running is
    refused: its image would not find home.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector. Those that are no virtual machines are left out.
    </arg>

    <example cmd='remove host vm nas vm-vc1-0'>
    All disks of one.
    </example>

    <related>set host vm nas</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Forget it."""
        remove_vm_nas(self.db, self.getSomeHostnames(args))
