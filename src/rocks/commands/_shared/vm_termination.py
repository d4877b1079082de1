"""Releases the resources of virtual machines that have ended, with the hooks of `stop host vm`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.commands._framework.plugins import load_plugins_of
from rocks.commands._shared.vm_hooks import PluginHook
from rocks.machine.hooks import load_changed
from rocks.machine.records import load_vms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.commands._framework.base import Command
    from rocks.core.errors import RocksError

COMMAND_PATH = ("stop", "host", "vm")


def terminate_with_hooks(command: Command, names: Sequence[str]) -> None:
    """Run the hooks. A machine for which one hook fails is left out of the following ones; its error is reported."""
    machines = load_vms(command.db, names)
    failed: dict[str, RocksError] = {}
    for plugin in load_plugins_of(command, COMMAND_PATH):
        result = PluginHook(plugin, COMMAND_PATH).run_all(machines)
        failed.update(result.failed)
        machines = load_changed(command.db, [vm for vm in machines if vm.name not in failed], result)
    command.endOutcomes(failed, len(machines) + len(failed))
