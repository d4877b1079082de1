"""The interface between a command on virtual machines and the plugins that take part in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from rocks.machine.records import load_vms

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from rocks.core.errors import RocksError
    from rocks.database.connection import Database
    from rocks.inventory.records import VirtualMachine


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
