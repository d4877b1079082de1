"""`rocks set host vm`"""

import rocks.commands
from rocks.actions.vms import VmChanges, set_vm
from rocks.database.vm_listing import vms_elsewhere

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Change a virtual machine. Changes take effect at the next start; image files are not resized.

    <arg type='string' name='host'>
    One virtual machine; an ordinary host becomes a virtual machine, if physnode or virt-type is given.
    </arg>
    <param type='string' name='physnode' default='unchanged'>
    Physical host of the machine. A machine moves only to a host whose attribute kvm is true, as that of VM containers.
    </param>
    <param type='string' name='disk' default='unchanged'>
    All disks, separated by blanks, each as TYPE:PATH,DEVICE,BUS; they replace the existing disks in order. A
    disk on a NAS remains there (rocks set host vm nas).
    </param>
    <param type='string' name='disksize' default='unchanged' unit='GB'>
    Sizes of the disks, separated by blanks, in order; 0 leaves a size unchanged.
    </param>
    <param type='int' name='mem' default='unchanged' unit='MB'>
    Memory.
    </param>
    <param type='int' name='slice' default='unchanged' unit='none'>
    Slice number on the host.
    </param>
    <param type='string' name='virt-type' default='unchanged' values='hvm,para'>
    hvm or para.
    </param>
    <param type='string' name='uuid' default='unchanged'>
    UUID of the machine, which its disks bear: only to recreate a machine that was removed, as rocks dump does.
    </param>

    <example cmd='set host vm vm-vc1-0 mem=4096'>
    Give the machine 4 GB of memory from the next start.
    </example>
    <example cmd='set host vm vm-vc1-0 physnode=vm-container-0-1'>
    Start the machine on another host next time; its disks are not copied (move host vm).
    </example>
    <related>list host vm</related>
    <related>move host vm</related>
    <related>set host vm nas</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Change the machine."""
        if len(args) != 1:
            self.abort("must supply only one host")
        container = self.fillText("physnode")
        host = self.getOneHostname([container]) if container else None
        changes = VmChanges(host, *self.fillTexts("disk", "disksize", "mem", "slice", "virt-type", "uuid"))
        name = self.getOneHostname(args)
        set_vm(self.db, name, changes)
        for vm, present in vms_elsewhere(self.db, [name]).items() if container else ():
            self.notify(
                f"Warning: {vm} may be running on {present}, which holds its lease; it can start on {host} only when "
                f"it has been stopped there: rocks stop host vm {vm}"
            )
