"""Frees what was allocated for virtual machines that have ended, with the hooks of `stop host vm`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.commands.machine_hooks import run_for
from rocks.commands.plugins import load_plugins_of
from rocks.database.vms import load_vms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.commands.base import Command
    from rocks.errors import RocksError

WORDS = ("stop", "host", "vm")


def terminate_with_hooks(command: Command, names: Sequence[str]) -> None:
    """Call the hooks; a machine that one of them fails for is left alone by the others, and told at the end."""
    machines = load_vms(command.db, names)
    failed: dict[str, RocksError] = {}
    for plugin in load_plugins_of(command, WORDS):
        failed.update(run_for(plugin, WORDS, [vm for vm in machines if vm.name not in failed]))
    command.endOutcomes(failed, len(machines))
