"""`rocks list host image`"""

from __future__ import annotations

from typing import TYPE_CHECKING

import rocks.commands
from rocks.commands._shared.vm_states import check_may_ask
from rocks.core.names import in_quotes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.machine.images import FileRow

HEADER = ("host", "file", "vm", "size", "used", "in-use", "uuid")

_WITHOUT_MACHINE = {
    "nobody": (
        "nobody (copied into place)",
        "A machine whose disk is at the path of one takes it at its start, if root put it there after the disk was "
        "recorded; no other machine starts with it",
        "if it is no machine's disk, ",
    ),
    "removed": ("removed machines", "No machine starts with them", ""),
}
"""What the column vm has for an image without a machine: its meaning, what starts with it, and when to remove it."""

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    List the disk images on hosts: all files below their image directories (attributes vm_image_directory and
    vm_image_directories), and the block devices that belong to virtual machines.

    The column vm names the machine that the image belongs to: removed, when that machine is no longer in the
    database; nobody, when the image was copied into place and given to no machine (rocks set host image);
    unknown, when its mark cannot be read; library, for the host's copy of an image of
    rocks list image. A name that is not printable is shown with escapes; such a file can only be
    removed on the host. The columns size and used are bytes; in-use names the domain or process that
    has the image.

    <arg optional='1' type='string' name='host' repeat='1' default='all VM containers'>
    Physical hosts.
    </arg>

    <example cmd='list host image'>
    All images of the site.
    </example>
    <example cmd='list host image vm-container-0-0'>
    The images of one host.
    </example>
    <related>remove host image</related>
    <related>set host image</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per image."""
        check_may_ask(self)
        from rocks.machine.images import list_images  # hosts are reached by heavy libraries

        rows, problems = list_images(self.db, self.getHostnames(args) if args else None)
        for host, problem in problems.items():
            self.notify(f"Warning: the images of {host} are not known completely: {problem}")
        self.beginOutput()
        for row in rows:
            self.addOutput(row.host, (row.path, row.machine, *row[3:5], row.user or None, row.uuid or None))
        self.endOutput(header=HEADER, trimOwner=False)
        if not self.fillFlag("json"):
            self._advise(rows)

    def _advise(self, rows: Sequence[FileRow]) -> None:
        """Name the commands for images that no machine of the database has."""
        for machine, (what, who_starts, when) in _WITHOUT_MACHINE.items():
            found = [row for row in rows if row.machine == machine]
            if found:
                place = f"{found[0].host} {in_quotes(found[0].path)}"
                self.notify(
                    f"images of {what} here: {len(found)}. {who_starts}: rocks set host image {place} vm=NAME gives "
                    f"the first one to a machine; {when}rocks remove host image {place} removes it"
                )
