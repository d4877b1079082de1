"""`rocks remove host vm snapshot`"""

import rocks.commands

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Remove a snapshot of a virtual machine: its files on the host. On a NAS, the snapshots of the volumes are no longer
    held; it destroys them with its own old ones.

    <shared names='one-machine,snapshot,dry-run'/>

    <example cmd='remove host vm snapshot vm-vc1-0 before-upgrade'>
    Remove the snapshot; the machine is as it was.
    </example>
    <example cmd='remove host vm snapshot vm-vc1-0 monday'>
    Another one.
    </example>
    <related>list host vm snapshot</related>
    <related>add host vm snapshot</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the files."""
        from rocks.machine.snapshots import remove_snapshot  # hosts are reached by heavy libraries

        hosts, (snapshot,) = self.requireArguments("snapshot")
        for line in remove_snapshot(self.db, self.getOneHostname(hosts), snapshot):
            self.notify(line)
