"""Removes virtual machines with the hooks of the folder `remove host vm`, whichever command was typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.actions.remove_vm import remove_vms
from rocks.commands.machine_hooks import run_for, takes_all
from rocks.commands.plugins import load_plugins_of
from rocks.database.vms import load_vms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.commands.base import Command

WORDS = ("remove", "host", "vm")


def remove_with_hooks(command: Command, names: Sequence[str]) -> None:
    """Run the hooks for each machine, remove the machines, and tell the person what stays."""
    plugins = load_plugins_of(command, WORDS)
    machines = load_vms(command.db, names)
    for plugin in plugins:
        for group in [machines] if takes_all(plugin) else [[vm] for vm in machines]:
            for error in run_for(plugin, WORDS, group).values():
                raise error
    removed = remove_vms(command.db, names)
    for warning in removed.warnings:
        command.tell(warning)
    for image in removed.images:
        command.tell(f"the disk image {image} stays; delete it there when it is not needed")
