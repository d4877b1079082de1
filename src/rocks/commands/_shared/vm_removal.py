"""Removes virtual machines with the hooks of the folder `remove host vm`, whichever command was typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.actions.vm_hooks import HookResult, load_changed
from rocks.actions.vm_removal import remove_vms
from rocks.commands._framework.plugins import VmPlugin, load_plugins_of
from rocks.commands._shared.vm_hooks import PluginHook
from rocks.database.vms import load_vms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.cluster.records import VirtualMachine
    from rocks.commands._framework.base import Command
    from rocks.commands._framework.plugins import Plugin

COMMAND_PATH = ("remove", "host", "vm")


def remove_with_hooks(command: Command, names: Sequence[str]) -> None:
    """Run the hooks for all machines, remove the machines, and print warnings and the disk images that remain."""
    plugins = load_plugins_of(command, COMMAND_PATH)
    machines = load_vms(command.db, names)
    for plugin in plugins:
        machines = _run(command, plugin, machines)
    removed = remove_vms(command.db, machines)
    for warning in removed.warnings:
        command.notify(warning)
    for image in removed.images:
        command.notify(f"the disk image {image} stays; delete it there when it is not needed")


def _run(command: Command, plugin: Plugin, machines: Sequence[VirtualMachine]) -> list[VirtualMachine]:
    """Run the hook; its first error ends the command, before the hook is called for another machine."""
    hook = PluginHook(plugin, COMMAND_PATH)
    changed: list[str] = []
    for group in [machines] if isinstance(plugin, VmPlugin) else [[vm] for vm in machines]:
        result = hook.run_all(group)
        for error in result.failed.values():
            raise error
        changed += result.changed
    return load_changed(command.db, machines, HookResult(changed=changed))
