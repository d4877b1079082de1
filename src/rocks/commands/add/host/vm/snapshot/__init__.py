"""`rocks add host vm snapshot`"""

import rocks.commands

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Copy the disks of a virtual machine, all as they are at one moment, to files beside them. The machine may run; if
    its guest agent answers, its file systems are frozen for that moment, otherwise the copy is as after a power cut.

    Only image files are copied, no devices and no images of a NAS. A copy takes the space of what the disk holds,
    and none where the file system shares blocks and the machine is off. The same command again repeats one that was
    interrupted.

    <arg type='string' name='host'>
    One virtual machine.
    </arg>
    <arg type='string' name='snapshot'>
    Name of the snapshot.
    </arg>
    <shared command='set host power' names='dry-run'/>

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
        from rocks.actions.vm_snapshots import add_snapshot  # hosts are reached by heavy libraries

        hosts, (snapshot,) = self.requireArguments("snapshot")
        for line in add_snapshot(self.db, self.getOneHostname(hosts), snapshot):
            self.notify(line)
