"""`rocks list host vm snapshot`"""

import rocks.commands
from rocks.database.vm_listing import vm_rows

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    List the snapshots of virtual machines: name, host, number of files, space in bytes, and whether it is complete.

    <arg optional='1' type='string' name='host' repeat='1' default='all virtual machines'>
    Virtual machines.
    </arg>

    <example cmd='list host vm snapshot'>
    All snapshots of the site.
    </example>
    <example cmd='list host vm snapshot vm-vc1-0'>
    The snapshots of one machine.
    </example>
    <related>add host vm snapshot</related>
    <related>list host image</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per snapshot."""
        from rocks.actions.vm_snapshots import list_snapshots  # hosts are reached by heavy libraries

        names = self.getHostnames(args) if args else [row.name for row in vm_rows(self.db, None)]
        found, errors = list_snapshots(self.db, names)
        for host, error in errors.items():
            self.notify(f"Warning: the snapshots on {host} are not known: {error}")
        self.beginOutput()
        for one in found:
            state = "complete" if one.is_complete else "incomplete"
            self.addOutput(one.vm, (one.name, one.host, len(one.paths), one.used_bytes, state))
        self.endOutput(header=["host", "snapshot", "container", "files", "used", "state"], trimOwner=False)
