"""Which copies of a machine's disks it may use: none that a move left, none in doubt after a live migration. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import StateError
from rocks.fleet.wire.disk_moves import moving_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.inventory.records import Disk, Host, VirtualMachine


def check_no_copies(
    vm: VirtualMachine, host: Host | None, disks: Sequence[Disk], copies: Sequence[tuple[str, str]]
) -> None:
    """StateError when a disk would be a copy that a move made or left: its content is incomplete or old.

    A copy is a host and a path.
    """
    paths = {disk.path for disk in disks}
    for place, path in copies:
        if host is not None and place == host.name and paths & {path, moving_path(path)}:
            raise StateError(
                f"{path} on {place} is a copy of the disk of {vm.name} that a move made or left, and may be "
                f"old or incomplete; rocks move host vm {vm.name} {place} moves the present disk there"
            )


def check_no_doubt(vm: VirtualMachine) -> None:
    """StateError while the machine's disks are not decided (decision 176), or are restored in part."""
    if vm.restoring is not None:
        raise StateError(
            f"{vm.name} cannot be used: its disks are those of the snapshot {vm.restoring} in part, since a restore "
            f"was interrupted. Repeat it: rocks restore host vm snapshot {vm.name} {vm.restoring}; or, to use them "
            f"as they are, of different moments: rocks remove host vm snapshot {vm.name} {vm.restoring}"
        )
    if vm.doubted_host is not None:
        here = None if vm.container is None else vm.container.name
        raise StateError(f"{vm.name} cannot be used: {doubt_line(vm.name, here, vm.doubted_host)}")


def doubt_line(name: str, host: str | None, doubted_host: str) -> str:
    """Where the current disks of the machine may be, and the commands that decide it."""
    keep = (
        f"; or, to keep those of {host} and lose what was written on {doubted_host}: rocks move host vm {name} {host} "
        "disks=there"
        if host
        else ""
    )
    return (
        f"its current disks may be on {doubted_host}, since its live migration to that host was given up by force. To "
        f"use them, when {doubted_host} is back: rocks move host vm {name} {doubted_host} disks=there{keep}"
    )
