"""Makes a host's InfiniBand ports members of a cluster's partition before a machine of the cluster starts there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rocks.commands
from rocks.commands._framework.plugins import TAIL
from rocks.machine.hooks import HookResult
from rocks.network.infiniband.machine_partitions import join_partitions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.inventory.records import VirtualMachine


class Plugin(rocks.commands.VmPlugin):
    """Hook of `start host vm`; every stop removes memberships that are not needed any more."""

    def provides(self) -> str:
        """The plugin's name."""
        return "allocate_partition"

    def requires(self) -> list[str]:
        """After the hooks that may choose another host."""
        return [TAIL]

    def run_all(self, machines: Sequence[VirtualMachine]) -> HookResult:
        """Make the hosts of the machines members of the partitions; errors are warnings, see `join_partitions`."""
        for warning in join_partitions(self.db, [vm.name for vm in machines]):
            self.owner.notify(warning)
        return HookResult()
