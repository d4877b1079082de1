"""A host's InfiniBand ports are members of a cluster's partition before the cluster's first machine starts there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rocks.commands
from rocks.actions.sync_partitions import join_partitions
from rocks.commands.plugins import TAIL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.commands.plugin_node import PluginNode
    from rocks.errors import RocksError


class Plugin(rocks.commands.Plugin):
    """Hook of `start host vm`; leaving is a part of every stop."""

    def provides(self) -> str:
        """The plugin's name."""
        return "allocate_partition"

    def requires(self) -> list[str]:
        """After the hooks that may choose another host."""
        return [TAIL]

    def run_all(self, nodes: Sequence[PluginNode]) -> Mapping[str, RocksError]:
        """Have the hosts of all the machines be members; that fails no machine, see `join_partitions`."""
        for warning in join_partitions(self.db, [node.name for node in nodes]):
            self.owner.tell(warning)
        return {}
