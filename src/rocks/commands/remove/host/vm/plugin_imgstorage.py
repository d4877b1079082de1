"""Keeps a virtual machine whose image is mapped from being removed: its changes would be lost on the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rocks.commands
from rocks.machine.outcomes import HookResult
from rocks.machine.volumes import check_no_mapped_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.inventory.records import VirtualMachine


class Plugin(rocks.commands.VmPlugin):
    """Hook of `remove host vm`."""

    def provides(self) -> str:
        """The plugin's name."""
        return "imgstorage"

    def run_all(self, machines: Sequence[VirtualMachine]) -> HookResult:
        """StateError when an image of the machines is mapped; prints a warning where a NAS does not answer."""
        for warning in check_no_mapped_images(self.db, [vm.name for vm in machines]):
            self.owner.notify(warning)
        return HookResult()
