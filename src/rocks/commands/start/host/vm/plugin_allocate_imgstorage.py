"""Images that a NAS keeps are mapped before their machines start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rocks.commands
from rocks.actions.map_vm_images import map_vm_images, take_back_images
from rocks.commands.storage_progress import StorageProgress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.cluster.image_plan import ImageSpec
    from rocks.commands.base import Command
    from rocks.commands.plugin_node import PluginNode
    from rocks.errors import RocksError


class Plugin(rocks.commands.Plugin):
    """Hook of `start host vm`."""

    def __init__(self, command: Command) -> None:
        super().__init__(command)
        self._made: list[ImageSpec] = []

    def provides(self) -> str:
        """The plugin's name."""
        return "allocate_imgstorage"

    def run_all(self, nodes: Sequence[PluginNode]) -> Mapping[str, RocksError]:
        """Map all images of all the machines, print a line for each, and return the machines that failed."""
        with StorageProgress(self.owner) as progress:
            mapped = map_vm_images(self.db, [node.name for node in nodes], progress, self._made)
        self.owner.addText("".join(f"{line}\n" for line in mapped.lines))
        for note in mapped.notes:
            self.owner.tell(note)
        return mapped.failed

    def undo_all(self, nodes: Sequence[PluginNode]) -> Mapping[str, RocksError]:
        """Unmap what this start mapped for the machines, and say so; returns what may still be mapped."""
        names = {node.name for node in nodes}
        made = [image for image in self._made if image.vm in names]
        left = take_back_images(self.db, made)
        for image in made:
            if image.vm not in left:
                self.owner.tell(f"{image.nas}:{image.volume} is unmapped again, {image.vm} was not started")
        return left
