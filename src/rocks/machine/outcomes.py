"""The outcomes of a command on several machines, and of the plugins that take part in it."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from rocks.core.dataclasses import dataclass
from rocks.core.errors import RocksError
from rocks.machine.record import load_vms

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import VirtualMachine


# The outcomes of a command on several machines, one for each machine.

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


# The interface between a command on virtual machines and the plugins that take part in it.


class HookResult(NamedTuple):
    """What a hook did: the errors by machine, and the machines whose database rows it changed."""

    failed: Mapping[str, RocksError] = {}
    changed: Collection[str] = ()


class VmHook(Protocol):
    """What a plugin does for the virtual machines of one command; `VmPlugin` is a base class that does nothing."""

    def run_all(self, machines: Sequence[VirtualMachine]) -> HookResult:
        """Act on the machines. The database has no change for a machine that failed."""

    def undo_all(self, machines: Sequence[VirtualMachine]) -> Mapping[str, RocksError]:
        """Undo what `run_all` did outside the database for machines that were not started; cleanup errors by machine.

        Called for all machines that certainly do not run, so also for machines that `run_all` never received.
        """


def load_changed(
    database: Database, machines: Sequence[VirtualMachine], result: HookResult
) -> list[VirtualMachine]:
    """The machines, those that the hook changed as they are now. No statement is sent when it changed none."""
    changed = [vm.name for vm in machines if vm.name in result.changed]
    fresh = {vm.name: vm for vm in load_vms(database, changed)}
    return [fresh.get(vm.name, vm) for vm in machines]
