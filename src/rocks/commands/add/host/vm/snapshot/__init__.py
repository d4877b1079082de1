"""`rocks add host vm snapshot`"""

import rocks.commands

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Keep the disks of a virtual machine, all as they are at one moment. The machine may run; if its guest agent
    answers, its file systems are frozen for that moment, otherwise the snapshot is as after a power cut.

    Image files are copied to files beside them. A copy takes the space of what the disk holds, and none where the file
    system shares blocks and the machine is off. On a NAS, snapshots of the volumes are kept, which take the space of
    what is written later. A machine that runs must have its whole image on its host; its NAS takes the changes
    first, then its file systems are frozen until the NAS has the rest, some seconds. While a machine with several
    disks on NASes runs, it gets a snapshot only if its guest agent answers. A machine with a disk that is a device
    gets none. If the command was interrupted, repeat it: it makes the snapshot, or says that the host has completed it.

    <shared names='one-machine,snapshot,dry-run'/>

    <example cmd='add host vm snapshot vm-vc1-0 before-upgrade'>
    Keep the disks as they are now.
    </example>
    <example cmd='add host vm snapshot vm-vc1-0 monday'>
    Another one.
    </example>
    <related>list host vm snapshot</related>
    <related>restore host vm snapshot</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Copy the disks."""
        from rocks.machine.snapshots import add_snapshot  # hosts are reached by heavy libraries

        hosts, (snapshot,) = self.requireArguments("snapshot")
        name = self.getOneHostname(hosts)
        self.showProgress(f"copying the disks of {name}")
        try:
            notes = add_snapshot(self.db, name, snapshot)
        finally:
            self.showProgress("")
        for line in notes:
            self.notify(line)
