"""What a changed record leaves as it is: images on their host, their sizes, and those that it has no more. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.inventory.records import Disk, Host, VirtualMachine


def image_lines(vm: VirtualMachine, target: Host | None, disks: Sequence[Disk] | None) -> list[str]:
    """A line for the images that stay on the old host, and one for each image that has another size, or is no disk now.

    `vm` is the machine before; `disks` are its new disks, None for the same. Devices and images of NASes are left out.
    """
    planned = {disk.path: disk for disk in (vm.disks if disks is None else disks)}
    images = [disk for disk in vm.disks if disk.path in planned and not disk.is_block and not disk.is_mapped]
    lines = [
        f"the image {disk.path} of {vm.name}, if it exists, keeps its size: only the record is "
        f"{planned[disk.path].size_gb} GB now, and was {disk.size_gb} GB; to grow the image: rocks set host vm disk "
        f"{vm.name} {disk.device} size=GB; nothing shrinks it"
        for disk in images
        if planned[disk.path].size_gb != disk.size_gb
    ]
    old = vm.container.name if vm.container is not None else ""
    recorded = {disk.path for disk in vm.disks}
    new = {path_disk.device: path for path, path_disk in planned.items() if path not in recorded}
    for disk in vm.disks:
        if old and disk.path not in planned and not disk.is_block and not disk.is_mapped:
            now = f"{new[disk.device]} as {disk.device}" if disk.device in new else f"no disk {disk.device}"
            lines.append(
                f"from its next start {vm.name} has {now}; the image {disk.path}, if it exists, stays on {old}, "
                f"which lists it: rocks list host image {old}"
            )
    if images and target is not None and old and target.name != old:
        lines.append(
            f"the images of {vm.name} that exist stay on {old} ({', '.join(disk.path for disk in images)}), and its "
            f"next start makes new ones where {target.name} has none; to take them along, if {old} answers: rocks set "
            f"host vm {vm.name} physnode={old}, then rocks move host vm {vm.name} {target.name}"
        )
    return lines
