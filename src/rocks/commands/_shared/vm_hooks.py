"""Plugins of `start`, `stop` and `remove host vm`: how a command calls them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rocks.commands._framework.plugins import VmPlugin, call_plugin, run_plugin
from rocks.core.errors import RocksError
from rocks.machine.outcomes import HookResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.commands._framework.plugins import Plugin
    from rocks.inventory.records import VirtualMachine


class PluginHook:
    """A plugin of the command `command_path` as a `VmHook`: calls are logged, faults of its code name the plugin.

    A `VmPlugin` receives all machines in one call; an error that it raises counts for each of them. Any other plugin
    is called once per machine, as `run(node)`, and may have changed the rows of the machine.
    """

    def __init__(self, plugin: Plugin, command_path: Sequence[str]) -> None:
        self.plugin = plugin
        self._command_path = command_path

    def run_all(self, machines: Sequence[VirtualMachine]) -> HookResult:
        """As `VmHook.run_all`; raises nothing but an interrupt."""
        plugin = self.plugin
        if isinstance(plugin, VmPlugin):
            try:
                result: HookResult = call_plugin(
                    plugin, self._command_path, lambda: _checked(plugin.run_all(machines), HookResult)
                )
                return result
            except RocksError as error:
                return HookResult(dict.fromkeys((vm.name for vm in machines), error))
        failed = {}
        for vm in machines:
            try:
                self.run_one(vm)
            except RocksError as error:
                failed[vm.name] = error
        return HookResult(failed, [vm.name for vm in machines if vm.name not in failed])

    def run_one(self, vm: VirtualMachine) -> None:
        """Call `run(node)` for one machine."""
        from rocks.commands._shared.plugin_node import plugin_node  # late: for plugins of other rolls

        run_plugin(self.plugin, self._command_path, plugin_node(vm))

    def undo_all(self, machines: Sequence[VirtualMachine]) -> Mapping[str, RocksError]:
        """As `VmHook.undo_all`; only a `VmPlugin` has anything to undo."""
        plugin = self.plugin
        if not isinstance(plugin, VmPlugin):
            return {}
        try:
            errors: Mapping[str, RocksError] = call_plugin(
                plugin, self._command_path, lambda: _checked(plugin.undo_all(machines), Mapping)
            )
            return errors
        except RocksError as error:
            return dict.fromkeys((vm.name for vm in machines), error)


def _checked(result: Any, expected: type) -> Any:
    if not isinstance(result, expected):
        raise TypeError(f"it returned {type(result).__name__} instead of {expected.__name__}")
    return result
