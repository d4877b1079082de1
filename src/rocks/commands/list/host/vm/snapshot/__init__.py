"""`rocks list host vm snapshot`"""

import rocks.commands
from rocks.commands._shared.vm_states import check_may_ask
from rocks.machine.listing_records import vm_rows

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    List the snapshots of virtual machines: name, host or NAS, number of disks, space in bytes, and whether it is
    complete and consistent. One that is former is of a content of disks on a NAS that a restore of an earlier one has
    replaced; an attempt to restore it prints the command that makes a volume of it. Consistent is yes when the guest
    agent had frozen the file systems, no when the machine ran and they were not frozen or when it was saved (both as
    after a power cut), off when the machine was off, and unknown where the host's file system could not store it. On a
    NAS, the space is what was written since the snapshot of the volume before this one.

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
        check_may_ask(self)
        from rocks.machine.snapshots import list_snapshots  # hosts are reached by heavy libraries

        names = self.getHostnames(args) if args else [row.name for row in vm_rows(self.db, None)]
        found, errors = list_snapshots(self.db, names)
        for host, error in errors.items():
            self.notify(f"Warning: the snapshots on {host} are not known: {error}")
        self.beginOutput()
        for one in found:
            state = "former" if one.is_former else "complete" if one.is_complete else "incomplete"
            cells = (one.name, one.host, len(one.paths), one.used_bytes, state, one.consistent)
            self.addOutput(one.vm, cells)
        header = ["host", "snapshot", "container", "files", "used", "state", "consistent"]
        self.endOutput(header=header, trimOwner=False)
