"""Starts virtual machines with the hooks of the folder `start host vm`, whichever command was typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.commands._framework.plugins import load_plugins_of, run_plugin
from rocks.commands._framework.progress import HostProgress
from rocks.commands._shared.vm_filters import filters_of
from rocks.commands._shared.vm_hooks import PluginHook
from rocks.core.callers import find_caller
from rocks.core.errors import RocksError
from rocks.machine.start import StartHooks, start_vms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rocks.commands._framework.base import Command
    from rocks.commands._framework.plugins import Plugin
    from rocks.inventory.records import VirtualMachine
    from rocks.machine.outcomes import Outcomes

COMMAND_PATH = ("start", "host", "vm")


def start_with_hooks(
    command: Command,
    names: Sequence[str],
    harmless: tuple[type[RocksError], ...] = (),
    frontend_of: Mapping[str, str] | None = None,
) -> None:
    """Start the machines, print notes and warnings, and set the command's exit status.

    Only with force=yes, or for Nucleus, whose own job of Slurm has the host, a machine starts beside a batch job.
    An error of a `harmless` class is not reported: the machine is in the state that the command asks for.
    `frontend_of` as of `start_vms`.
    """
    beside_jobs = command.fillFlag("force") or find_caller().service == "nucleus"
    outcomes = start_outcomes(command, names, frontend_of, beside_jobs=beside_jobs)
    for line in outcomes.joined_lines:
        command.notify(line)
    failed = {name: error for name, error in outcomes.failed.items() if not isinstance(error, harmless)}
    command.endOutcomes(failed, outcomes.tried)


def start_outcomes(
    command: Command,
    names: Sequence[str],
    frontend_of: Mapping[str, str] | None = None,
    *,
    beside_jobs: bool = True,
) -> Outcomes:
    """Start the machines with the hooks; returns the outcome of each."""
    plugins = load_plugins_of(command, COMMAND_PATH, ("allocate", "preboot"))
    hooks = StartHooks(
        filters_of=filters_of(command),
        allocate=[
            _AllocateHook(plugin, COMMAND_PATH)
            for plugin in plugins
            if "plugin_allocate" in plugin.module_name
        ],
        preboot=_preboot([plugin for plugin in plugins if "plugin_preboot" in plugin.module_name]),
        notify=command.notify,
        progress=HostProgress(command),
    )
    return start_vms(command.db, names, hooks, frontend_of, beside_jobs=beside_jobs)


class _AllocateHook(PluginHook):
    def run_one(self, vm: VirtualMachine) -> None:
        """Call `run(node)`; what it changed in the database is committed, or rolled back, before the next machine."""
        try:
            super().run_one(vm)
        except RocksError:
            self.plugin.db.rollback()
            raise
        self.plugin.db.commit()


def _preboot(plugins: Sequence[Plugin]) -> Callable[[VirtualMachine], str | None] | None:
    def first_document(vm: VirtualMachine) -> str | None:
        from rocks.commands._shared.plugin_node import plugin_node  # late: for plugins of other rolls

        documents = [run_plugin(plugin, COMMAND_PATH, plugin_node(vm)) for plugin in plugins]
        return next((document for document in documents if document), None)

    return first_document if plugins else None
