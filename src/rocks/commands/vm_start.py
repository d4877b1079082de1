"""Starts virtual machines with the hooks of the folder `start host vm`, whichever command was typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.actions.start_vm import AllocateHook, StartHooks, start_vms
from rocks.commands.machine_hooks import run_for, takes_all, undo_for
from rocks.commands.plugin_node import plugin_node
from rocks.commands.plugins import load_plugins_of, run_plugin
from rocks.commands.vm_filters import filters_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rocks.cluster.records import VirtualMachine
    from rocks.commands.base import Command
    from rocks.commands.plugins import Plugin
    from rocks.errors import RocksError

WORDS = ("start", "host", "vm")


def start_with_hooks(
    command: Command, names: Sequence[str], harmless: tuple[type[RocksError], ...] = ()
) -> None:
    """Start the machines, tell the person what is notable, and set the command's exit status.

    A refusal of a `harmless` class is no failure: the machine is as the command wants it.
    """
    plugins = load_plugins_of(command, WORDS)
    hooks = StartHooks(
        filters_of=filters_of(command),
        allocate=[
            _allocate(command, plugin) for plugin in plugins if "plugin_allocate" in plugin.module_name
        ],
        preboot=_preboot([plugin for plugin in plugins if "plugin_preboot" in plugin.module_name]),
    )
    outcomes = start_vms(command.db, names, hooks)
    for line in outcomes.lines:
        command.tell(line)
    failed = {name: error for name, error in outcomes.failed.items() if not isinstance(error, harmless)}
    command.endOutcomes(failed, outcomes.tried)


def _allocate(command: Command, plugin: Plugin) -> AllocateHook:
    return AllocateHook(
        run=lambda machines: run_for(plugin, WORDS, machines),
        takes_all=takes_all(plugin),
        undo=lambda machines: undo_for(plugin, WORDS, machines),
        tell=command.tell,
    )


def _preboot(plugins: Sequence[Plugin]) -> Callable[[VirtualMachine], str | None] | None:
    def first_document(vm: VirtualMachine) -> str | None:
        documents = [run_plugin(plugin, WORDS, plugin_node(vm)) for plugin in plugins]
        return next((document for document in documents if document), None)

    return first_document if plugins else None
