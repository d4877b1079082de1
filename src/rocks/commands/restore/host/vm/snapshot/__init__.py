"""`rocks restore host vm snapshot`"""

import rocks.commands

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Replace the disks of a virtual machine that is off by those of a snapshot, which stays. What image files have now
    is lost, unless another snapshot has it. On a NAS, the present content stays as the volume VOLUME-before-NUMBER,
    with the snapshots made after this one, which are listed as former. After an interrupt the machine does not start
    until the command is repeated, or, on a NAS, the snapshot is removed. Do not remove that of image files then.

    <shared names='one-machine,snapshot,dry-run'/>

    <example cmd='restore host vm snapshot vm-vc1-0 before-upgrade'>
    Return to the disks of that snapshot; then start the machine.
    </example>
    <example cmd='restore host vm snapshot vm-vc1-0 monday'>
    Return to another one.
    </example>
    <related>add host vm snapshot</related>
    <related>stop host vm</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Replace the disks."""
        from rocks.machine.snapshots import restore_snapshot  # hosts are reached by heavy libraries

        hosts, (snapshot,) = self.requireArguments("snapshot")
        for line in restore_snapshot(self.db, self.getOneHostname(hosts), snapshot):
            self.notify(line)
