"""What a command that acts on several machines has to tell: each machine its own outcome."""

from __future__ import annotations

from dataclasses import dataclass, field

from rocks.errors import RocksError


@dataclass
class Outcomes:
    """Machine → notes for the person where it went well, machine → error where it did not; `warnings` are of all."""

    done: dict[str, tuple[str, ...]] = field(default_factory=dict)
    failed: dict[str, RocksError] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        """All that a person should know, errors apart."""
        return [*(note for notes in self.done.values() for note in notes), *self.warnings]

    @property
    def tried(self) -> int:
        """How many machines were asked for."""
        return len(self.done) + len(self.failed)
