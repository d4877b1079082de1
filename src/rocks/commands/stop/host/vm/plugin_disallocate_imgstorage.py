"""Unmaps the images of virtual machines that have ended; a NAS then has all that was written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rocks.commands
from rocks.commands._shared.storage_progress import StorageProgress
from rocks.machine.outcomes import HookResult
from rocks.machine.volumes import unmap_vm_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.inventory.records import VirtualMachine


class Plugin(rocks.commands.VmPlugin):
    """Hook of `stop host vm`, with terminate=yes only."""

    def provides(self) -> str:
        """The plugin's name."""
        return "disallocate_imgstorage"

    def run_all(self, machines: Sequence[VirtualMachine]) -> HookResult:
        """Unmap all images of the machines and wait until they are written back, at most for the given timeout."""
        given = self.owner.fillGivenNumber("timeout")
        seconds = None if given is None else max(given, 1)  # the requests are sent also with timeout=0
        with StorageProgress(self.owner) as progress:
            return HookResult(unmap_vm_images(self.db, machines, progress, seconds))
