"""Removes the assignment of virtual machines' disks to NASes, before the machines themselves."""

from collections.abc import Sequence

import rocks.commands
from rocks.machine.volumes import check_no_mapped_images, forget_vm_nas


class Plugin(rocks.commands.Plugin):
    """Hook of `remove host`."""

    def provides(self) -> str:
        """The plugin's name."""
        return "img-storage"

    def precedes(self) -> list[str]:
        """The assignments refer to the machine's disks."""
        return ["vm"]

    def check_all(self, hosts: Sequence[str]) -> None:
        """StateError if an image of one of the machines is still mapped."""
        for warning in check_no_mapped_images(self.db, hosts):
            self.owner.notify(warning)

    def run_all(self, hosts: Sequence[str]) -> None:
        """Remove the assignments."""
        forget_vm_nas(self.db, hosts)
