"""`rocks remove host vm disk`"""

import rocks.commands

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Remove a disk from a virtual machine. If the machine runs, its guest must release the disk. Unmount it there first:
    a Linux guest releases a mounted disk, too, and its file system gets I/O errors. The image stays on the host.

    The first disk of a running machine stays, and a disk that is on a NAS or before one that is.

    <shared names='one-machine'/>
    <shared command='set host vm disk' names='disk'/>
    <shared names='dry-run'/>

    <example cmd='remove host vm disk vm-vc1-0 vdb'>
    Detach the second disk.
    </example>
    <example cmd='remove host vm disk vm-vc1-0 /state/partition1/kvm/disks/vm-vc1-0.vdb'>
    Name it by its image.
    </example>
    <related>add host vm disk</related>
    <related>remove host image</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Detach the disk where the machine runs, and delete its record."""
        from rocks.commands._shared.vm_filters import filters_of
        from rocks.machine.disk_changes import remove_disk  # hosts are reached by heavy libraries

        hosts, (disk,) = self.requireArguments("disk")
        name = self.getOneHostname(hosts)
        self.showProgress(f"removing the disk of {name}, which its guest must release if it runs")
        try:
            notes = remove_disk(self.db, name, disk, filters_of(self))
        finally:
            self.showProgress("")
        for line in notes:
            self.notify(line)
