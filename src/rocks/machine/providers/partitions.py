"""The InfiniBand partition of a machine's cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rocks.core.errors import RocksError
from rocks.machine.providers.provider import Provider
from rocks.network.infiniband.machine_partitions import join_partitions, partitions_of_machines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.machine.lease_grants import Attempt


class Partitions(Provider):
    """The hosts of the machines become members of the partitions, and the requests get the keys."""

    def complete(self, attempts: Sequence[Attempt]) -> None:
        """Of saved machines, too; not of those that run already, under the key that is recorded. Commits."""
        names = [attempt.vm.name for attempt in attempts]
        try:
            warnings = join_partitions(self.database, names)
            partitions = partitions_of_machines(self.database, names)
        except RocksError as error:
            for attempt in attempts:
                attempt.error = error
            return
        for warning in warnings:
            self.notify(warning)
        for attempt in attempts:
            attempt.request = replace(attempt.request, partition=partitions.get(attempt.vm.name))
