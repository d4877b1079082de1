"""The InfiniBand partition of a machine's cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rocks.machine.providers.provider import Provider
from rocks.network.infiniband.machine_partitions import partitions_of_machines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.machine.leases.leases import Attempt


class Partitions(Provider):
    """The settings of InfiniBand functions; that hosts are members of partitions is the work of a plugin."""

    def complete(self, attempts: Sequence[Attempt]) -> None:
        """Of saved machines, too."""
        partitions = partitions_of_machines(self.database, [attempt.vm.name for attempt in attempts])
        for attempt in attempts:
            attempt.request = replace(attempt.request, partition=partitions.get(attempt.vm.name))
