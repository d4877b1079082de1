"""A guest's memory and devices, saved on this host by libvirt, and its disks as they were then.

libvirt writes the file, not compressed: `save_image_format` of its qemu.conf, which `nodes/kvm-base.xml` writes.

The record of a save has the state of each disk file, and the grant of each image of a NAS: a guest continues only with
the disks that it was saved with.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Dict, Iterable, List, Union

from rocks.core.errors import HostError, StateError
from rocks.core.files import explain, write_file
from rocks.fleet.host.change import CHANGED, Change
from rocks.fleet.host.state_folder import (
    Place,
    RecordKind,
    damaged,
    ensure_folder,
    read_json_record,
    remove_record,
)
from rocks.fleet.wire.requests import SaveDomain
from rocks.machine.host.disks import identity_at
from rocks.machine.host.files import identity_of
from rocks.machine.host.host import Host
from rocks.machine.host.libvirt.device_xml import changed_lease
from rocks.machine.host.libvirt.domain_xml import DiskIdentity, DomainDocument
from rocks.machine.host.libvirt.driver import is_active
from rocks.machine.host.libvirt.freezing import check_is_thawed
from rocks.machine.plans import SaveFacts
from rocks.storage.mapped_volumes import mapped_images

SAVE_FOLDER = Path("/var/lib/libvirt/qemu/save")
"""Where libvirt keeps managed saves; it cannot be set."""


def save_domain(host: Host, operation: SaveDomain) -> Change:
    """Save a running or paused domain. The caller has planned it, and holds the machine's lock.

    A save that an earlier call began is completed. StateError for a guest that may be frozen still; ToolError when
    libvirt cannot save it: it runs on then.
    """
    name, domains = operation.name, host.domains()
    document = domains.document(name)
    if is_active(domains, name):
        check_is_thawed(host, name, operation.token)
        remove_record(_record(host, name))
        domains.save(name)
    domains.check_managed_save(name)
    domains.set_autostart(name, False)  # it stays saved when this host boots
    ensure_folder(Place.SAVED.below(host.state_folder))
    write_file(_record(host, name), json.dumps(_states(host, document.disks_and_cds)) + "\n")
    return CHANGED


def save_facts(host: Host, document: DomainDocument) -> SaveFacts:
    """What decides whether this domain is saved."""
    folder = SAVE_FOLDER if SAVE_FOLDER.is_dir() else Path("/var/lib")
    filesystem = os.statvfs(folder)
    images = mapped_images(host.state_folder)
    return SaveFacts(
        host_devices=document.host_devices,
        devices=tuple(path for path in document.disks if path not in images and not Path(path).is_file()),
        folder=str(SAVE_FOLDER),
        free_bytes=filesystem.f_bavail * filesystem.f_frsize,
        is_recorded=_record(host, document.name).exists(),
    )


def check_saved_disks(host: Host, name: str) -> None:
    """StateError when the save of a machine is incomplete, or one of its disks has changed since."""
    discard = f"discard what its guest had in memory: rocks stop host vm {name} saved=remove"
    kind = RecordKind(f"the record of the saved {name}", discard)
    record = read_json_record(_record(host, name), kind)
    if record is None:
        raise StateError(
            f"the save of {name} was interrupted; complete it: rocks save host vm {name}; or {discard}"
        )
    if not isinstance(record, dict):
        raise damaged(_record(host, name), kind, "it is no object")
    # a disk that the guest had not released when it was saved is in its memory, and in its definition no more
    present = _states(host, {*record, *host.domains().document(name).disks_and_cds})
    changed = sorted(path for path in {*record, *present} if record.get(path) != present.get(path))
    images = mapped_images(host.state_folder)
    if changed:
        path, before = changed[0], record.get(changed[0])
        is_image = isinstance(before, list) and any(isinstance(part, str) for part in before)
        why = (
            "is an image of a NAS that has left this host since the machine was saved"
            if is_image
            else "has changed since the machine was saved"
        )
        raise StateError(f"the disk {path} of {name} {why}, so its guest would damage it; {discard}")
    for path in present:
        if path in images and not _is_there(path):
            raise StateError(
                f"{name} stays saved: its disk {path} is not there yet. After a boot of this host, "
                "rocks-imgstorage-host makes it again, and waits for the NAS where it needs that (journalctl -u "
                "rocks-imgstorage-host); repeat the command later"
            )


def renew_identities(host: Host, live: DomainDocument) -> DomainDocument:
    """A continued domain with the present numbers of its block devices in its lease: a boot may change them.

    They are its images on NASes, of which the caller has checked that they are the same, and devices that are recorded
    as its own.
    """
    images = mapped_images(host.state_folder)
    known = [
        disk for disk in live.disk_identities if disk.path in images or _has_own_device_now(host, live, disk)
    ]
    renewed = [present for disk in known for present in [identity_at(disk.path)] if present != disk]
    if not renewed:
        return live
    host.domains().set_lease(live.name, changed_lease(live, added=renewed))
    return host.domains().document(live.name)


def _has_own_device_now(host: Host, live: DomainDocument, disk: DiskIdentity) -> bool:
    """Whether the path of this disk, a block device, leads to another one now that is recorded as the machine's."""
    if disk.inode:
        return False
    try:
        status = Path(disk.path).stat()
        if identity_at(disk.path) == disk:
            return False
    except (OSError, HostError):
        return False
    is_block = stat.S_ISBLK(status.st_mode)
    return is_block and host.image_owners.of_device(identity_of(status.st_rdev)) == live.uuid


def forget_save(host: Host, name: str) -> None:
    """Remove the record of a save that is over."""
    remove_record(_record(host, name))


def _record(host: Host, name: str) -> Path:
    return Place.SAVED.below(host.state_folder) / name


def _states(host: Host, paths: Iterable[str]) -> Dict[str, List[Union[str, int]]]:
    """Each disk, and what a change of it would change.

    Of a file: inode, size, time of the last change in nanoseconds. Of an image of a NAS: its id, and the epoch of the
    grant, which stays the same only while this host has the image. Copying and writing back change neither.
    """
    found: Dict[str, List[Union[str, int]]] = {}
    images = mapped_images(host.state_folder)
    for path in paths:
        if path in images:
            found[path] = [images[path].image_id, images[path].epoch]
            continue
        try:
            status = Path(path).stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise HostError(f"the disk {path} cannot be read: {explain(error, Path(path))}") from None
        found[path] = [status.st_ino, status.st_size, status.st_mtime_ns]
    return found


def _is_there(device: str) -> bool:
    return Path(device).exists()
