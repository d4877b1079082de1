"""The outcomes of a command on several machines, one for each machine."""

from __future__ import annotations

from dataclasses import field

from rocks.core.dataclasses import dataclass
from rocks.core.errors import RocksError


@dataclass
class Outcomes:
    """`done`: notes by machine that succeeded; `failed`: errors by machine; `warnings` concern the whole command."""

    done: dict[str, tuple[str, ...]] = field(default_factory=dict)
    failed: dict[str, RocksError] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        """All notes and warnings for the operator."""
        return [*(note for notes in self.done.values() for note in notes), *self.warnings]

    @property
    def tried(self) -> int:
        """The number of machines."""
        return len(self.done) + len(self.failed)
