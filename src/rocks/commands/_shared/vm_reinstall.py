"""Gives virtual machines fresh disks, and prints what became of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.cluster.reinstall import Request, clone_vms, reinstall_vms
from rocks.commands._framework.progress import HostProgress
from rocks.commands._shared.storage_progress import StorageProgress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.commands._framework.base import Command


def reinstall(command: Command, names: Sequence[str], image: str = "", original: str | None = None) -> None:
    """Give the machines fresh disks, as the parameters state, and set the command's exit status.

    `image`: as of `Request`. `original`: the machine of whose disk theirs are to be clones, at once.
    """
    request = Request(names, command.fillFlag("force"), image)
    with StorageProgress(command) as watcher:
        progress, seconds = HostProgress(command), command.fillNumber("timeout")
        if original is None:
            outcomes = reinstall_vms(command.db, request, watcher, command.notify, progress, seconds)
        else:
            outcomes = clone_vms(command.db, original, request, watcher, command.notify, progress, seconds)
    for line in outcomes.lines:
        command.notify(line)
    command.endOutcomes(outcomes.failed, outcomes.tried)
