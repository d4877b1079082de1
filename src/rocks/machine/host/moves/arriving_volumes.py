"""Devices of images on a NAS that follow a machine to this host: placeholders until image storage maps the images.

QEMU opens a placeholder when the machine arrives, paused. image storage then gives the same device its content.
"""

from __future__ import annotations

from typing import Iterable

from rocks.core.clock import Deadline
from rocks.core.errors import IncoherentError, StateError
from rocks.core.units import BYTES_PER_SECTOR
from rocks.fleet.wire.live_moves import DiskSize
from rocks.machine.host.host import Host
from rocks.machine.host.libvirt.domain_xml import DomainDocument
from rocks.storage.device_mapper.tables import Placeholder

_MAPPER = "/dev/mapper/"
_REMOVE_SECONDS = 10.0


def create_placeholders(host: Host, images: Iterable[DiskSize]) -> None:
    """The devices, whose I/O fails. StateError when this host has a device of an image already."""
    for image in images:
        name = _device_name(image.path)
        found = host.dm_devices().read(name)
        if found is not None and not isinstance(found.table, Placeholder):
            raise StateError(
                f"this host has a device {image.path} already, so its image may be mapped here: rocks list host "
                "storagemap"
            )
        if found is not None:
            host.dm_devices().ensure_gone(name, Deadline(_REMOVE_SECONDS))  # it may have another size
        host.dm_devices().ensure(name, Placeholder(image.size_bytes // BYTES_PER_SECTOR))


def remove_placeholders(host: Host, paths: Iterable[str]) -> None:
    """Remove those that image storage has given nothing. StateError for one that is open."""
    for name in (_device_name(path) for path in paths if path.startswith(_MAPPER)):
        found = host.dm_devices().read(name)
        if found is not None and isinstance(found.table, Placeholder):
            host.dm_devices().ensure_gone(name, Deadline(_REMOVE_SECONDS))


def check_have_content(host: Host, live: DomainDocument) -> None:
    """StateError for a domain that waits for an image: its first write would stop it."""
    for path in live.disks:
        if path.startswith(_MAPPER):
            found = host.dm_devices().read(_device_name(path))
            if found is not None and isinstance(found.table, Placeholder):
                raise StateError(
                    f"{live.name} waits on this host for its image {path}, which has not followed it yet: rocks move "
                    f"host vm {live.name} HOST live=yes, with this host's name, completes that; or, to end its guest: "
                    f'rocks stop host vm {live.name} force=yes reason="…"'
                )


def _device_name(path: str) -> str:
    folder, _, name = path.rpartition("/")
    if f"{folder}/" != _MAPPER:
        raise IncoherentError(f"{path[:80]!r} is no device of an image")
    return name
