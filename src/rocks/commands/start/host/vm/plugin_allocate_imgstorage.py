"""Maps the images of virtual machines from their NAS before the machines start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rocks.commands
from rocks.commands._shared.storage_progress import StorageProgress
from rocks.machine.outcomes import HookResult
from rocks.machine.volumes import map_vm_images, take_back_images

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.commands._framework.base import Command
    from rocks.core.errors import RocksError
    from rocks.inventory.records import VirtualMachine
    from rocks.storage.volumes.places import ImageSpec


class Plugin(rocks.commands.VmPlugin):
    """Hook of `start host vm`."""

    def __init__(self, command: Command) -> None:
        super().__init__(command)
        self._made: list[ImageSpec] = []

    def provides(self) -> str:
        """The plugin's name."""
        return "allocate_imgstorage"

    def run_all(self, machines: Sequence[VirtualMachine]) -> HookResult:
        """Map all images of the machines and print a line for each; the disks of a machine are its devices then."""
        with StorageProgress(self.owner) as progress:
            mapped = map_vm_images(self.db, machines, progress, self._made)
        for line in (line for lines in mapped.lines.values() for line in lines):
            self.owner.addLine(line)
        for note in mapped.notes:
            self.owner.notify(note)
        return HookResult(mapped.failed, mapped.lines)

    def undo_all(self, machines: Sequence[VirtualMachine]) -> Mapping[str, RocksError]:
        """Unmap the images that this start mapped for the machines, and print them; returns the errors by machine."""
        names = {vm.name for vm in machines}
        made = [image for image in self._made if image.vm in names]
        left = take_back_images(self.db, made)
        for image in made:
            if image.vm not in left:
                self.owner.notify(f"{image.nas}:{image.volume} is unmapped again, {image.vm} was not started")
        return left
