"""The outcomes of a command on several machines, one for each machine."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import field
from typing import TYPE_CHECKING

from rocks.core.dataclasses import dataclass
from rocks.core.errors import RocksError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_NAMED = 5
"""So many names are printed; more are counted."""


@dataclass
class Outcomes:
    """`done`: notes by machine that succeeded; `failed`: errors by machine; `warnings` concern the whole command."""

    done: dict[str, tuple[str, ...]] = field(default_factory=dict)
    failed: dict[str, RocksError] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Record an error as the outcome of this machine, so that the others continue."""
        try:
            yield
        except RocksError as error:
            self.failed[name] = error

    @property
    def lines(self) -> list[str]:
        """All notes and warnings for the operator."""
        return [*(note for notes in self.done.values() for note in notes), *self.warnings]

    @property
    def joined_lines(self) -> list[str]:
        """As `lines`; what is so for several machines is one line."""
        alike: dict[str, list[tuple[str, str]]] = {}
        for name, notes in self.done.items():
            for note in notes:
                alike.setdefault(_without(name, note), []).append((name, note))
        return [*(_one_line(found) for found in alike.values()), *self.warnings]

    @property
    def tried(self) -> int:
        """The number of machines."""
        return len(self.done) + len(self.failed)


def _without(name: str, note: str) -> str:
    """The note with another text in the place of the machine's name."""
    return re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", "\0", note)


def _one_line(found: Sequence[tuple[str, str]]) -> str:
    """The note of the first machine, and the others for which it is so; it stands alone when it names none."""
    (name, note), *others = found
    if not others or _without(name, note) == note:
        return note
    names = [other for other, _ in others]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{note}; likewise {', '.join(names[:_NAMED])}{more}"
