"""Images that a NAS keeps come home when their machines have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rocks.commands
from rocks.actions.unmap_vm_images import unmap_vm_images
from rocks.commands.storage_progress import StorageProgress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.commands.plugin_node import PluginNode
    from rocks.errors import RocksError


class Plugin(rocks.commands.Plugin):
    """Hook of `stop host vm`, with terminate=yes only."""

    def provides(self) -> str:
        """The plugin's name."""
        return "disallocate_imgstorage"

    def run_all(self, nodes: Sequence[PluginNode]) -> Mapping[str, RocksError]:
        """Unmap all images of the machines, wait until they are home, and return the machines that failed."""
        with StorageProgress(self.owner) as progress:
            return unmap_vm_images(self.db, [node.name for node in nodes], progress)
