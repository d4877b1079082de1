"""`rocks add host vm disk`"""

import rocks.commands

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Add a disk to a virtual machine. If the machine runs, the disk is attached to it at once; the image is created if
    it does not exist. The same command again completes one that was interrupted.

    A running machine takes disks on the buses virtio and scsi only, and one on virtio only under the name that its
    guest gives it, which is the next one: vdb beside vda.

    <shared names='one-machine'/>
    <param type='string' name='disk' optional='0'>
    The disk as TYPE:PATH,DEVICE,BUS (rocks help add host vm).
    </param>
    <param type='string' name='disksize' default='36' unit='GB'>
    Size of the disk. A disk that is recorded already keeps its size.
    </param>
    <shared names='dry-run'/>

    <example cmd='add host vm disk vm-vc1-0 disk=file:/state/partition1/kvm/disks/vm-vc1-0.vdb,vdb,virtio disksize=20'>
    Give the machine a second disk of 20 GB.
    </example>
    <example cmd='add host vm disk vm-vc1-0 disk=phy:/dev/mapper/guests-scratch,vdc,virtio'>
    Give it a volume of its host, which the attribute vm_disk_devices allows.
    </example>
    <related>remove host vm disk</related>
    <related>set host vm disk</related>
    <related>list host vm</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Attach the disk where the machine runs, and store it."""
        from rocks.commands._shared.vm_filters import filters_of
        from rocks.machine.disk_changes import add_disk  # hosts are reached by heavy libraries

        specification = self.fillText("disk")
        if not specification:
            self.abort("must supply disk=TYPE:PATH,DEVICE,BUS")
        name = self.getOneHostname(args)
        for line in add_disk(self.db, name, specification, self.fillText("disksize"), filters_of(self)):
            self.notify(line)
