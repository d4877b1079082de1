"""Hooks that are called for virtual machines: once for each, or once for all where the hook can do that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.commands.plugin_node import plugin_node
from rocks.commands.plugins import call_plugin, run_plugin
from rocks.errors import RocksError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.cluster.records import VirtualMachine
    from rocks.commands.plugins import Plugin


def takes_all(plugin: Plugin) -> bool:
    """Whether it has a method `run_all(nodes)`, which gets all machines and returns the errors by their names."""
    return getattr(plugin, "run_all", None) is not None


def undo_for(
    plugin: Plugin, words: Sequence[str], machines: Sequence[VirtualMachine]
) -> Mapping[str, RocksError]:
    """Have the plugin undo what it did for machines that do not run; returns what is left of it, by name.

    A plugin without a method `undo_all(nodes)` has nothing to undo.
    """
    undo = getattr(plugin, "undo_all", None)
    if undo is None:
        return {}
    nodes = [plugin_node(vm) for vm in machines]
    try:
        left: Mapping[str, RocksError] = call_plugin(plugin, words, lambda: undo(nodes))
        return left or {}
    except RocksError as error:
        return dict.fromkeys((vm.name for vm in machines), error)


def run_for(
    plugin: Plugin, words: Sequence[str], machines: Sequence[VirtualMachine]
) -> Mapping[str, RocksError]:
    """Call the plugin for the machines; returns what failed, by name. An error of `run_all` itself is everybody's."""
    nodes = [plugin_node(vm) for vm in machines]
    if takes_all(plugin):
        try:
            failed: Mapping[str, RocksError] = call_plugin(
                plugin,
                words,
                lambda: plugin.run_all(nodes),  # type: ignore[attr-defined] # asked just now
            )
            return failed or {}
        except RocksError as error:
            return dict.fromkeys((vm.name for vm in machines), error)
    found = {}
    for node in nodes:
        try:
            run_plugin(plugin, words, node)
        except RocksError as error:
            found[node.name] = error
    return found
