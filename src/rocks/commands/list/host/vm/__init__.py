"""`rocks list host vm`"""

from collections.abc import Sequence
from itertools import groupby, zip_longest
from operator import itemgetter

import rocks.commands
from rocks.database import vm_listing

HEADER = ("vm-host", "slice", "mem", "cpus", "mac", "host", "virt-type")
STATUS_HEADER = ("status",)
DISK_HEADER = ("disk", "disksize", "cdrom")

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    List virtual machines. Additional interfaces and disks of a machine are listed in additional rows.

    <arg optional='1' type='string' name='host' repeat='1'>
    Hosts; default: all. Hosts that are not virtual machines are skipped.
    </arg>
    <param type='bool' name='showdisks'>
    yes: include disks, their sizes in GB, and the CD image.
    </param>
    <param type='bool' name='status'>
    yes: query the physical hosts for the states of the machines: active, paused, shutdown, shutoff, crashed,
    nostate (not defined on its host), nostate-error (no host, or no answer within 5 seconds).
    </param>

    <example cmd='list host vm'>
    All virtual machines.
    </example>
    <example cmd='list host vm vm-vc1-0 status=yes showdisks=yes'>
    All information about one machine.
    </example>
    <related>list cluster</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the rows."""
        with_disks, with_status = self.fillFlag("showdisks"), self.fillFlag("status")
        names = self.getHostnames(args) if args else None
        rows = vm_listing.vm_rows(self.db, names)
        states = self._states(rows) if with_status else {}
        disks = vm_listing.disk_texts(self.db, names) if with_disks else {}
        self.beginOutput()
        padding = (None,) * with_status
        for name, group in groupby(rows, key=itemgetter(0)):
            _, slice_number, memory, cpus, container, kind, mac, cdrom = next(group)
            status = (states[name],) if with_status else ()
            cells = (slice_number, memory, cpus, mac, str(container), kind or "para", *status)
            texts = disks.get(name, [])
            self.addOutput(name, (*cells, *_disk(texts[:1]), cdrom) if with_disks else cells)
            for mac, disk in zip_longest([row.mac for row in group], texts[1:]):
                cells = (None, None, None, mac, None, None, *padding)
                self.addOutput(name, (*cells, *_disk([disk]), None) if with_disks else cells)
        self.endOutput(header=(*HEADER, *STATUS_HEADER * with_status, *DISK_HEADER * with_disks))

    def _states(self, rows: list[vm_listing.VmRow]) -> dict[str, str]:
        from rocks.actions.vm_reports import show_vm_states  # hosts are reached by heavy libraries

        return show_vm_states(self.db, {row.name: row.container for row in rows})


def _disk(disks: Sequence[tuple[str, int] | None]) -> tuple[str | None, int | None]:
    """Cells of the first disk; empty ones where there is none."""
    return (disks and disks[0]) or (None, None)
