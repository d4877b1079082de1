"""Gives virtual machines fresh disks, and prints what became of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.cluster.reinstall import reinstall_vms
from rocks.commands._framework.progress import HostProgress
from rocks.commands._shared.storage_progress import StorageProgress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.commands._framework.base import Command


def reinstall(command: Command, names: Sequence[str]) -> None:
    """Give the machines fresh disks, as the parameter `force` states, and set the command's exit status."""
    force = command.fillFlag("force")
    with StorageProgress(command) as watcher:
        progress, seconds = HostProgress(command), command.fillNumber("timeout")
        outcomes = reinstall_vms(command.db, names, force, watcher, command.notify, progress, seconds)
    for line in outcomes.lines:
        command.notify(line)
    command.endOutcomes(outcomes.failed, outcomes.tried)
