"""`rocks set host vm nas`"""

import rocks.commands
from rocks.actions.vm_nas import set_vm_nas
from rocks.cluster.image_places import is_nowhere

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Say which NAS, and which ZFS pool of it, keeps a disk of virtual machines. It takes effect at the next start, which
    maps the volume NAME-vol of that pool.

    <arg type='string' name='host' repeat='1'>
    Virtual machines, by name or any other selector.
    </arg>
    <param type='string' name='nas' optional='0'>
    The NAS: a host with the attribute img_storage_nas, or of the membership NAS Appliance. none: no NAS keeps the
    disk, and its definition counts (rocks list host vm showdisks=yes). Once the machine was started with the NAS, that
    is the device of the image: give the machine another disk by rocks set host vm disk=.
    </param>
    <param type='string' name='zpool'>
    The pool. Without it, a disk that the NAS keeps stays in its pool, and another one gets one of those that the
    NAS's attribute img_zpools names, by chance.
    </param>
    <param type='int' name='index'>
    Number of the disk, from 0, the default.
    </param>

    <example cmd='set host vm nas vm-vc1-0 nas=nas-0-0 zpool=tank'>
    Keep its first disk in the pool tank.
    </example>
    <example cmd='set host vm nas vm-vc1-0 vm-vc1-1 nas=nas-0-0'>
    Spread the disks of two machines over the pools of the NAS.
    </example>
    <example cmd='set host vm nas vm-vc1-0 nas=none index=1'>
    Its second disk is a local one.
    </example>

    <related>list host vm nas</related>
    <related>remove host vm nas</related>
    <related>set host vm</related>
    """

    RefusesUnknownParameters = True

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Record it."""
        names = self.getSomeHostnames(args)
        nas, zpool, index = self.fillParams([("nas", ""), ("zpool", ""), ("index", "0")])
        server = nas if not nas or is_nowhere(nas) else self.getOneHostname([nas])
        set_vm_nas(self.db, names, server, zpool, index)
