"""`rocks list host vm`"""

from collections.abc import Sequence
from itertools import groupby, zip_longest
from operator import itemgetter

import rocks.commands
from rocks.commands._shared.vm_states import VmPresence, presence_of, states_for_listing
from rocks.fleet.wire.requests import SEED_SUFFIX
from rocks.inventory.attributes.records import resolve_attribute
from rocks.library.guest_images import CD_ATTRIBUTE
from rocks.machine.listing_records import DiskRow, VmRow, disk_texts, vm_rows, vms_elsewhere

HEADER = ("vm-host", "slice", "mem", "cpus", "mac", "host", "virt-type")
STATUS_HEADER = ("status",)
DISK_HEADER = ("disk", "disksize", "cdrom")
RUNNING_HEADER = ("state", "running-mem", "running-cpus", "running-host", "running-disks")
"""Keys in JSON only; a table has the values of a running machine in parentheses where they differ."""
UUID_HEADER = ("uuid",)
"""In JSON only."""

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    List virtual machines. Additional interfaces and disks of a machine are listed in additional rows. A host in
    parentheses, as in vm-container-0-1(runs:vm-container-0-0), is the one where the machine may still be running. JSON
    has the uuid of the machine, too.

    <shared names='any-machines'/>
    <param type='bool' name='showdisks' default='no'>
    yes: include disks, their sizes in GB, and the CD image.
    </param>
    <param type='bool' name='status' default='no'>
    yes (root): query the physical hosts for the states of machines: active, paused, shutdown, shutoff, crashed,
    nostate (off: not defined on its host), saved (rocks save host vm), moving (rocks move host vm live=yes has not
    ended), nostate-error (no host, or no answer within 5 seconds). Values of the running machine that differ from the
    stored ones are added in parentheses. In JSON, status has these words, with shutoff instead of saved; state has
    off instead of nostate; and the running machine's values are in running-mem, running-cpus, running-host and
    running-disks.
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
        self._in_json = self.fillFlag("json")
        names = self.getHostnames(args) if args else None
        rows = vm_rows(self.db, names)
        states = self._states(rows) if with_status else {}
        elsewhere = vms_elsewhere(self.db, names)
        disks = disk_texts(self.db, names) if with_disks else {}
        media = resolve_attribute(self.db, CD_ATTRIBUTE, names) if with_disks else {}
        has_more = with_status and self._in_json
        self.beginOutput()
        padding = (None,) * with_status
        for name, group in groupby(rows, key=itemgetter(0)):
            row = next(group)
            runs = states.get(name) or VmPresence(host=elsewhere.get(name))
            status = ((runs.status if self._in_json else runs.text),) if with_status else ()
            memory, cpus = self._both(row.memory_mb, runs.memory_mb), self._both(row.cpus, runs.cpus)
            host = self._both(str(row.container), runs.host)
            cells = (row.slice, memory, cpus, row.mac, host, row.virt_type or "para", *status)
            listed = self._disks(disks.get(name, []), runs.disks)
            running = (runs.state, runs.memory_mb, runs.cpus, runs.host, runs.disks) if has_more else ()
            identity = (row.uuid,) if self._in_json else ()
            disk = (*_disk(listed[:1]), _medium(media.get(name), row.cdrom_path)) if with_disks else ()
            self.addOutput(name, (*cells, *disk, *running, *identity))
            for mac, other in zip_longest([row.mac for row in group], listed[1:]):
                cells = (None, None, None, mac, None, None, *padding)
                self.addOutput(name, (*cells, *_disk([other]), None) if with_disks else cells)
        more = (*RUNNING_HEADER * has_more, *UUID_HEADER * self._in_json)
        self.endOutput(header=(*HEADER, *STATUS_HEADER * with_status, *DISK_HEADER * with_disks, *more))

    def _states(self, rows: list[VmRow]) -> dict[str, VmPresence]:
        return {
            name: presence_of(state)
            for name, state in states_for_listing(self, {row.name: row.container for row in rows}).items()
        }

    def _both(self, stored: object, running: object) -> object:
        """The stored value, and in a table also that of the running domain where it differs."""
        differs = running is not None and str(running) != str(stored)
        return f"{stored}(runs:{running})" if differs and not self._in_json else stored

    def _disks(self, disks: Sequence[DiskRow], running: Sequence[str] | None) -> list[tuple[str, int]]:
        """(specification, size) of each disk, with the path of the running domain where it differs."""
        if running is None:
            return [(disk.text, disk.size_gb) for disk in disks]
        stored = {disk.path for disk in disks}
        # the disk for cloud-init is no record's, and disks that were added later come behind it
        others = iter([path for path in running if path not in stored and not path.endswith(SEED_SUFFIX)])
        return [
            (
                disk.text
                if disk.path in running or self._in_json
                else f"{disk.text}(runs:{next(others, 'none')})",
                disk.size_gb,
            )
            for disk in disks
        ]


def _medium(image: str | None, path: str | None) -> str | None:
    """The cell of the CD: an image of the library as the parameter that inserted it."""
    return f"image={image}" if image else path


def _disk(disks: Sequence[tuple[str, int] | None]) -> tuple[str | None, int | None]:
    """Cells of the first disk; empty ones where there is none."""
    return (disks and disks[0]) or (None, None)
