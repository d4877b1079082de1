"""The plan of one host as the installer reads it (`roll/installer/initramfs/lib/plan.sh`). Pure.

Lines "KEY VALUE" of plain ASCII between a first line with the number of the form and a last line `end`: a file that was
cut off is not a plan. The keys of one host:

    host, domain, installation, gateway, overwrite, kernel-arguments, archive, archive-sha256, profile, progress
    interface DEVICE MAC ADDRESS/PREFIX MTU      nameserver ADDRESS
    disk smallest | disk serial X | disk path X  authorized-key LINE
    partition NAME MIB|rest ext4 PATH            partition NAME MIB|rest swap|none -

`domain`, `gateway`, `nameserver`, `kernel-arguments` and `profile` may be missing. Two lines `disk` are a RAID 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.install.installation.disks import REST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rocks.install.installation.disks import Partition
    from rocks.install.installation.plan import InstallPlan

FORM = "rocks-install-plan 1"
END = "end"


def plan_text(plan: InstallPlan) -> str:
    """The plan as a text, which ends with a line end."""
    return "".join(f"{line}\n" for line in (FORM, *_lines(plan), END))


def _lines(plan: InstallPlan) -> Iterator[str]:
    yield f"host {plan.host}"
    if plan.domain:
        yield f"domain {plan.domain}"
    yield f"installation {plan.source.installation}"
    for interface in plan.interfaces:
        yield f"interface {interface.device} {interface.mac} {interface.address} {interface.mtu_bytes}"
    if plan.gateway:
        yield f"gateway {plan.gateway}"
    yield from (f"nameserver {server}" for server in plan.name_servers)
    yield from (f"disk {disk.kind} {disk.value}".rstrip() for disk in plan.disks)
    yield f"overwrite {'yes' if plan.overwrite else 'no'}"
    yield from (_partition(partition) for partition in plan.partitions)
    if plan.kernel_arguments:
        yield f"kernel-arguments {plan.kernel_arguments}"
    yield f"archive {plan.source.archive}"
    yield f"archive-sha256 {plan.source.archive_sha256}"
    yield from (f"authorized-key {key}" for key in plan.source.authorized_keys)
    if plan.source.profile:
        yield f"profile {plan.source.profile}"
    yield f"progress {plan.source.progress}"


def _partition(partition: Partition) -> str:
    size = REST if partition.size_mib is None else str(partition.size_mib)
    return f"partition {partition.name} {size} {partition.file_system} {partition.mount_point or '-'}"
