"""The small second disk of a machine from an image of the library, which cloud-init reads."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rocks.core.errors import RocksError
from rocks.library.guest_images import seed_path
from rocks.machine.providers.provider import Provider

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.machine.lease_grants import Attempt


class Seeds(Provider):
    """A saved machine goes on with the one that it has."""

    def complete(self, attempts: Sequence[Attempt]) -> None:
        """Create the seeds. Commits."""
        seeded = [one for one in attempts if not one.is_saved and seed_path(one.vm) is not None]
        if not seeded:
            return
        from rocks.machine.seeds import create_seeds  # late: few machines have one

        seeds = create_seeds(self.database, [attempt.vm for attempt in seeded], self.notify)
        for attempt in seeded:
            seed = seeds.get(attempt.vm.name)
            if isinstance(seed, RocksError):
                attempt.error = seed
            else:
                attempt.request = replace(attempt.request, seed=seed)
