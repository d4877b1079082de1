"""Removes virtual machines with the hooks of the folder `remove host vm`, whichever command was typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.commands._framework.plugins import VmPlugin, load_plugins_of
from rocks.commands._shared.vm_hooks import PluginHook
from rocks.core.errors import StateError, UserError
from rocks.core.names import first_few, printable
from rocks.inventory.loaded_host_records import which_are_vms
from rocks.leases.lease import lock_vms
from rocks.machine.images import how_to_remove
from rocks.machine.outcomes import HookResult, load_changed
from rocks.machine.record import load_vms
from rocks.machine.remove import remove_vms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.commands._framework.base import Command
    from rocks.commands._framework.plugins import Plugin
    from rocks.inventory.records import VirtualMachine

COMMAND_PATH = ("remove", "host", "vm")


def remove_with_hooks(
    command: Command, names: Sequence[str], with_disks: bool = False
) -> Sequence[VirtualMachine]:
    """Run the hooks for all machines, remove the machines, and print warnings and the disk images that remain.

    Returns the machines as they were.

    `with_disks`: the disks of the machines are removed too. BusyError while another command changes one of them,
    and StateError when one is moving to another host, since without its rows nothing could end that, or when another
    command has removed one meanwhile: nothing is done.
    """
    plugins = load_plugins_of(command, COMMAND_PATH)
    known = which_are_vms(command.db, names)
    for error in lock_vms(command.db, names).values():
        raise error
    try:
        # as the last command on them left them: from here on they stay so
        machines = load_vms(command.db, names)
    except StateError:
        _check_are_left(known, which_are_vms(command.db, names))
        raise
    for plugin in plugins:
        machines = _run(command, plugin, machines)
    removed = remove_vms(command.db, machines, with_disks)
    for line in (*removed.stopped, *removed.warnings):
        command.notify(line)
    for image in removed.images:
        host, _, path = image.partition(":")
        command.notify(f"the disk image {image} stays; {how_to_remove(host, path)}")
    for image in removed.removed:
        command.notify(f"the disk image {image} is removed")
    for volume in removed.volumes:
        command.notify(f"the image {volume} is destroyed")
    return machines


def _check_are_left(known: Sequence[str], left: Sequence[str]) -> None:
    gone = [name for name in known if name not in left]
    if gone:
        raise StateError(
            f"another command has removed {first_few(gone, 1)} meanwhile, and this one nothing; to remove the others, "
            "repeat it with what rocks list cluster and rocks list host vm show"
        )


def reads_disks_parameter(command: Command) -> bool:
    """Whether the parameter `disks` is `remove`. UserError unless it is that or `keep`, the default."""
    text = command.fillText("disks", "keep")
    if text not in ("keep", "remove"):
        raise UserError(f'disks "{printable(text)}" must be keep or remove')
    return text == "remove"


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
