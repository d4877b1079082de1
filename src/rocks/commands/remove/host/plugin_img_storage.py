"""The NAS that keeps a virtual machine's disks is forgotten before the machine is."""

from collections.abc import Sequence

import rocks.commands
from rocks.actions.vm_images import check_no_mapped_images
from rocks.actions.vm_nas import forget_vm_nas


class Plugin(rocks.commands.Plugin):
    """Hook of `remove host`."""

    def provides(self) -> str:
        """The plugin's name."""
        return "img-storage"

    def precedes(self) -> list[str]:
        """The rows belong to the machine's disks."""
        return ["vm"]

    def run_all(self, hosts: Sequence[str]) -> None:
        """Forget it for those of the hosts that are virtual machines, unless a host still has the image of one."""
        for warning in check_no_mapped_images(self.db, hosts):
            self.owner.notify(warning)
        forget_vm_nas(self.db, hosts)
