"""A machine whose image a host still has is not removed: its changes would be forgotten there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rocks.commands
from rocks.actions.unmap_vm_images import check_no_mapped_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.commands.plugin_node import PluginNode


class Plugin(rocks.commands.Plugin):
    """Hook of `remove host vm`."""

    def provides(self) -> str:
        """The plugin's name."""
        return "imgstorage"

    def run_all(self, nodes: Sequence[PluginNode]) -> None:
        """Refuse it, or warn where a NAS does not answer."""
        for warning in check_no_mapped_images(self.db, [node.name for node in nodes]):
            self.owner.tell(warning)
