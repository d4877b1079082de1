"""A host's listing of the devices of images, in the shape of the specification (§2.4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Dict, Optional

from rocks.core.units import BYTES_PER_GIB, BYTES_PER_SECTOR
from rocks.storage.device_mapper.dm_devices import DmDevices
from rocks.storage.device_mapper.tables import DmDeviceFact, Linear, Placeholder, SnapshotMerge
from rocks.storage.iscsi.initiator import SessionDriver
from rocks.storage.life.names import TARGET_PREFIX, guest_device
from rocks.storage.store.host import HostStore
from rocks.storage.wire.replies import DeviceRow

_SUFFIX = guest_device("")
_KINDS = {Linear: "linear", SnapshotMerge: "snapshot-merge", Placeholder: "arriving"}
PAUSED = "the guest is paused: no free space in the pool for its writes"
_UNKNOWN = (
    "this host has no record of it: rocks clean host storagemap {nas} {zvol}; if no host has it, stop its machine and "
    "run dmsetup remove {device} here"
)


def device_rows(store: HostStore, dm_devices: DmDevices, sessions: SessionDriver) -> Dict[str, DeviceRow]:
    """Image volume → its devices on the host; sessions of unknown images are `volume0`, `volume1`, …"""
    copies = store.copies()
    known = {copy.known.zvol: copy.known for copy in copies if copy.known.stage != "none"}
    nases = {copy.known.zvol: copy.details.get("nas") for copy in copies}
    paused = store.paused()
    # of several, the newest: the others are overtaken
    open_ones = {request.zvol: request.came for request in store.open_requests()}
    rows: Dict[str, DeviceRow] = {}
    found = {session.target: session for session in sessions.read_sessions()}
    for mapping in dm_devices.list():
        if not mapping.name.endswith(_SUFFIX):
            continue
        zvol = mapping.name[: -len(_SUFFIX)]
        row = replace(_row(mapping), time=open_ones.get(zvol))
        target = None if zvol not in known else known[zvol].target
        if target in found:
            row = replace(row, target=target, bdev=found.pop(target).disk)
        if zvol in open_ones and isinstance(mapping.table, SnapshotMerge):
            row = replace(row, started=True)
        if zvol in paused:
            row = replace(row, note=PAUSED)
        elif zvol not in known and not isinstance(mapping.table, Placeholder):
            nas = nases.get(zvol, "NAS")
            row = replace(row, note=_UNKNOWN.format(nas=nas, zvol=zvol, device=mapping.name))
        rows[zvol] = row
    used = sessions.used_targets() if found else ()
    for zvol, image in known.items():
        if image.stage == "remote" and image.target in found:
            disk = found.pop(image.target).disk
            row = DeviceRow("iscsi", image.target, disk, bdev=disk, in_use=image.target in used)
            rows[zvol] = replace(row, time=open_ones.get(zvol))
    others = sorted(target for target in found if target.startswith(TARGET_PREFIX))
    for number, target in enumerate(others):
        rows[f"volume{number}"] = DeviceRow("iscsi", target, found[target].disk, in_use=target in used)
    return rows


def _row(mapping: DmDeviceFact) -> DeviceRow:
    table, usage = mapping.table, mapping.status
    kind = next((name for shape, name in _KINDS.items() if isinstance(table, shape)), "snapshot")
    length: Optional[int] = getattr(table, "length_sectors", None)
    size = (length or 0) * BYTES_PER_SECTOR // BYTES_PER_GIB
    synced = None
    if usage is not None:
        fill = f"{usage.allocated_sectors}/{usage.total_sectors} {usage.metadata_sectors}"
        synced = fill if usage.state == "ok" else usage.state
    # an arriving guest has the placeholder open, and has written nothing
    in_use = bool(mapping.open_count) and not isinstance(table, Placeholder)
    return DeviceRow("sync", device=mapping.name, status=kind, size=size, synced=synced, in_use=in_use)
