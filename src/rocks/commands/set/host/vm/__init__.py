"""`rocks set host vm`"""

import rocks.commands
from rocks.actions.vms import VmChanges, set_vm

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Change a virtual machine. It takes effect at the next start; image files are not resized.

    <arg type='string' name='host'>
    One virtual machine; a host that is none becomes one.
    </arg>
    <param type='string' name='physnode'>
    Its physical host from now on.
    </param>
    <param type='string' name='disk'>
    All its disks, by blanks, each TYPE:PATH,DEVICE,BUS; they replace those that it has, the first the first. A disk
    that a NAS keeps is still kept there (rocks set host vm nas).
    </param>
    <param type='string' name='disksize'>
    Sizes of its disks in GB, by blanks, in order; 0 leaves a disk's size.
    </param>
    <param type='int' name='mem'>
    Memory in MB.
    </param>
    <param type='int' name='slice'>
    Its number on the host.
    </param>
    <param type='string' name='virt-type'>
    hvm or para.
    </param>

    <example cmd='set host vm vm-vc1-0 mem=4096'>
    4 GB of memory from the next start on.
    </example>
    <example cmd='set host vm vm-vc1-0 physnode=vm-container-0-1'>
    Start on another host the next time.
    </example>
    <related>list host vm</related>
    <related>set host vm nas</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Change the machine."""
        if len(args) != 1:
            self.abort("must supply only one host")
        container, disks, sizes, mem, number, kind = self.fillParams(
            [
                ("physnode", None),
                ("disk", None),
                ("disksize", None),
                ("mem", None),
                ("slice", None),
                ("virt-type", None),
            ]
        )
        host = self.getOneHostname([container]) if container else None
        set_vm(self.db, self.getOneHostname(args), VmChanges(host, disks, sizes, mem, number, kind))
