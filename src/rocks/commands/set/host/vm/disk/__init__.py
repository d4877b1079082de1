"""`rocks set host vm disk`"""

import rocks.commands

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Grow a disk of a virtual machine, and notify its guest if the machine runs. The image of a machine that is off
    grows, too. The partitions and file systems in the guest are grown by its own programs (growpart, resize2fs).

    A device of the host must have grown before, as by lvextend. A disk on a NAS grows while its machine is off and its
    changes are written back: its NAS grows the volume, and the next start has the new size. Its size is in
    GiB (1024³ bytes), as that of a new image of a NAS; that of other disks is in GB of 1000³ bytes.

    <shared names='one-machine'/>
    <arg type='string' name='disk'>
    Path or device of the disk (rocks list host vm showdisks=yes).
    </arg>
    <param type='int' name='size' optional='0' unit='GB'>
    The new size.
    </param>
    <shared names='dry-run'/>

    <example cmd='set host vm disk vm-vc1-0 vda size=50'>
    Grow the first disk to 50 GB.
    </example>
    <example cmd='set host vm disk vm-vc1-0 /state/partition1/kvm/disks/vm-vc1-0.vdb size=100'>
    Name the disk by its image.
    </example>
    <related>add host vm disk</related>
    <related>stop host vm</related>
    <related>set host vm</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Grow the disk on its host, and store its size."""
        from rocks.machine.disk_changes import grow_disk  # hosts are reached by heavy libraries

        hosts, (disk,) = self.requireArguments("disk")
        size = self.fillText("size")
        if not size:
            self.abort("must supply size=, the new size in GB")
        for line in grow_disk(self.db, self.getOneHostname(hosts), disk, size):
            self.notify(line)
