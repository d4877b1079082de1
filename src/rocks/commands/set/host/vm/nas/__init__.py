"""`rocks set host vm nas`"""

import rocks.commands
from rocks.machine.volumes import set_vm_nas
from rocks.storage.volumes.places import is_nowhere

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Assign a disk of virtual machines to a NAS and one of its ZFS pools. The change takes effect at the next
    start, which maps the volume NAME-vol of that pool. The content is not moved: move host storageimg does both.

    <arg type='string' name='host' repeat='1'>
    Virtual machines, by name or any other selector.
    </arg>
    <param type='string' name='nas' optional='0'>
    The NAS: a host with the attribute img_storage_nas or of the membership NAS Appliance. none: the disk is not
    on a NAS but as defined (rocks list host vm showdisks=yes). After a start with the NAS, that is the device
    of the image; assign another disk with rocks set host vm disk=.
    </param>
    <param type='string' name='zpool' default="the pool of a disk that is on the NAS; for another disk a random
          pool of the NAS's attribute img_zpools" of='zpool'>
    The pool. A line warns of one that is not in the NAS's attribute img_zpools, if that is set.
    </param>
    <param type='int' name='index' default='0' unit='none'>
    Number of the disk; 0 is the first.
    </param>

    <example cmd='set host vm nas vm-vc1-0 nas=nas-0-0 zpool=tank'>
    Keep the first disk in the pool tank.
    </example>
    <example cmd='set host vm nas vm-vc1-0 vm-vc1-1 nas=nas-0-0'>
    Distribute the disks of two machines over the pools of the NAS.
    </example>
    <example cmd='set host vm nas vm-vc1-0 nas=none index=1'>
    Make the second disk a local one.
    </example>

    <related>list host vm nas</related>
    <related>remove host vm nas</related>
    <related>set host vm</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Store the assignment."""
        names = self.getSomeHostnames(args)
        nas = self.fillText("nas", "")
        server = nas if not nas or is_nowhere(nas) else self.getOneHostname([nas])
        warning = set_vm_nas(self.db, names, server, self.fillText("zpool", ""), self.fillText("index", "0"))
        if warning is not None:
            self.notify(f"Warning: {warning}")
