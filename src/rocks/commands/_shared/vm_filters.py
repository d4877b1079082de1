"""Filters of other rolls on the libvirt document: plugins beside `report host vm config`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rocks.commands._framework.plugins import load_plugins_of, run_plugin
from rocks.core.errors import BugError
from rocks.machine.domain import FILTER_NAMES

if TYPE_CHECKING:
    from rocks.commands._framework.base import Command
    from rocks.inventory.records import VirtualMachine
    from rocks.machine.documents import FiltersOf
    from rocks.machine.domain import Filter

COMMAND_PATH = ("report", "host", "vm", "config")


def filters_of(command: Command) -> FiltersOf:
    """For a machine, the filter of each block; only the first plugin whose file name says the block counts."""
    plugins = load_plugins_of(command, COMMAND_PATH, FILTER_NAMES)
    chosen: dict[str, Any] = {}
    for name in FILTER_NAMES:
        found = next((plugin for plugin in plugins if f"plugin_{name}" in plugin.module_name), None)
        if found is not None:
            chosen[name] = found

    if not chosen:
        return lambda vm: {}
    from rocks.commands._shared.plugin_node import plugin_node  # late: for plugins of other rolls

    def for_vm(vm: VirtualMachine) -> dict[str, Filter]:
        node = plugin_node(vm)

        def bound(plugin: Any) -> Filter:
            return lambda lines: _run(plugin, node, lines)

        return {name: bound(plugin) for name, plugin in chosen.items()}

    return for_vm


def _run(plugin: Any, node: Any, lines: list[str]) -> list[str]:
    changed = run_plugin(plugin, COMMAND_PATH, node, lines)
    if not isinstance(changed, list) or not all(isinstance(line, str) for line in changed):
        raise BugError(
            f'the plugin "{plugin.provides()}" of report host vm config returned no list of lines, but '
            f"{type(changed).__name__}; its author must fix it"
        )
    return changed
