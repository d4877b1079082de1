"""Disks of a machine that starts: each is the machine's own, and the same when QEMU has opened it."""

from __future__ import annotations

from rocks.core.errors import StateError
from rocks.fleet.wire.requests import StartDomain
from rocks.machine.host.disks import DiskIdentity, ensure_disk, is_same
from rocks.machine.host.files.seeds import write_seed
from rocks.machine.host.host import Host
from rocks.machine.host.libvirt.domain_xml import DomainDocument, with_disk_identities


def ensure_disks(host: Host, operation: StartDomain, document: DomainDocument) -> DomainDocument:
    """Make or check the machine's disks; the document with their identities in the lease. Errors as `ensure_disk`."""
    identities = [ensure_disk(disk, host.image_owners)[1] for disk in operation.disks]
    if operation.seed is not None:
        seed = operation.seed
        identities.append(DiskIdentity(seed.path, *write_seed(seed, host.image_owners), seed.machine))
    return with_disk_identities(document, identities) if identities else document


def check_disks(host: Host, live: DomainDocument) -> None:
    """StateError when a path leads to another file than it did before the domain was defined."""
    for disk in live.disk_identities:
        if not is_same(DiskIdentity(*disk), host.image_owners):
            raise StateError(
                f"the disk {disk[0]} of {live.name} was replaced while the machine was starting; try again"
            )
