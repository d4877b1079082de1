"""A guest's device on a host, from iSCSI sessions and device-mapper: effects on it, and its listing."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Callable, Dict, Optional, Union

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import BusyError, HostError, IncoherentError, StateError, ToolError
from rocks.core.values import BYTES_PER_GIB, BYTES_PER_SECTOR, size_text
from rocks.storage.device_mapper.dm_devices import DmDevices
from rocks.storage.device_mapper.tables import (
    CHUNK_SECTORS,
    DmDeviceFact,
    Linear,
    Placeholder,
    Snapshot,
    SnapshotMerge,
    Table,
)
from rocks.storage.host.effects import Name
from rocks.storage.host.engine import GrantedImage, Handler
from rocks.storage.host.guests import GuestState, machine_of
from rocks.storage.image import names
from rocks.storage.image.effects import DropMap, SwitchOrigin
from rocks.storage.image.image import NOTHING, Facts
from rocks.storage.image.names import TARGET_PREFIX, guest_device
from rocks.storage.image.space import unreservable_bytes
from rocks.storage.iscsi.initiator import SessionDriver, SessionSpec
from rocks.storage.limits import DEVICE_SECONDS
from rocks.storage.store.host import HostStore
from rocks.storage.wire.replies import DeviceRow
from rocks.storage.zfs.pool import PoolDriver

_log = logging.getLogger(__name__)

_CLOSE_SECONDS = 10.0
_MERGE_POLL_SECONDS = 0.5
_UDEV_SECONDS, _UDEV_POLL_SECONDS = 5.0, 0.5
_HEADER = b"SnAp"
_HEADER_BYTES = 8
_CHUNK_BYTES = CHUNK_SECTORS * BYTES_PER_SECTOR
_FIRST_BYTES = _CHUNK_BYTES + 16
_MAPPER = "/dev/mapper/"


def read_start(path: str, count: int) -> bytes:
    """The first bytes of a device. ToolError when it cannot be read."""
    try:
        with Path(path).open("rb") as device:
            return device.read(count)
    except OSError as error:
        raise ToolError(f"{path} cannot be read: {error.strerror}") from None


class DeviceHandlers:
    """The handlers of effects on devices."""

    def __init__(
        self,
        pools: PoolDriver,
        sessions: SessionDriver,
        dm_devices: DmDevices,
        read_start: Callable[[str, int], bytes] = read_start,
        state_of: Callable[[str], GuestState] = lambda machine: "off",
    ) -> None:
        """`read_start` reads the first bytes of a block device; `state_of` reports the state of a machine."""
        self._read_start = read_start
        self._state_of = state_of
        self._pools = pools
        self._sessions = sessions
        self._dm_devices = dm_devices
        self.handlers: Dict[Name, Handler] = {
            "RequireUnused": self._require_unused,
            "RequireClosed": self._require_closed,
            "EnsureDeviceGone": self._ensure_device_gone,
            "EnsureOriginGone": self._ensure_origin_gone,
            "EnsureSession": self._ensure_session,
            "EnsureSessionGone": self._ensure_session_gone,
            "EnsureSessionsGone": self._ensure_sessions_gone,
            "EnsureRemoteOrigin": self._ensure_remote_origin,
            "EnsureLocalOrigin": self._ensure_local_origin,
            "RequireTempWrite": self._require_temp_write,
            "RequireTempWriteEmpty": self._require_temp_write_empty,
            "EnsureOverlayDevice": self._ensure_overlay_device,
            "EnsureMergeDevice": self._ensure_merge_device,
            "WaitMerged": self._wait_merged,
            "EnsureLinearDevice": self._ensure_linear_device,
        }

    # --- sessions

    def _ensure_session(self, request: object, image: GrantedImage) -> Facts:
        """Logged in to the recorded target; the disk's serial and size are the expected ones. Facts: device."""
        if not image.address:
            raise HostError(
                f"this host has lost its records, and with them the address of {image.nas}: its next request has it; "
                f"whether {image.nas} answers: rocks list host storagemap {image.nas}"
            )
        known = image.known
        assert known.target is not None and known.serial is not None
        session = self._sessions.ensure_session(
            SessionSpec(
                target=known.target,
                address=image.address,
                port=image.portal_port,
                chap=image.chap,
                unit_serial=known.serial,
                size_bytes=known.size_bytes,
                read_only=known.stage == "overlay",
            )
        )
        return Facts(device=session.device_path)

    def _ensure_session_gone(self, request: Union[DropMap, SwitchOrigin], image: GrantedImage) -> Facts:
        """No session, disk or session record of the request's target; without one, of any target of the image."""
        if request.target is None:
            return self._ensure_sessions_gone(request, image)
        self._sessions.ensure_session_gone(request.target)
        return NOTHING

    def _ensure_sessions_gone(self, request: object, image: GrantedImage) -> Facts:
        """End the sessions with any target of the image."""
        prefix = names.target_name(image.nas, image.zvol, 0)[:-1]
        for target in [session.target for session in self._sessions.read_sessions()]:
            if target.startswith(prefix) and target[len(prefix) :].isdigit():
                self._sessions.ensure_session_gone(target)
        return NOTHING

    # --- removal

    def _require_unused(self, request: object, image: GrantedImage) -> Facts:
        """No guest has the device open, or was saved with it. BusyError otherwise."""
        mapping = self._closed(image.zvol)
        if mapping is not None and isinstance(mapping.table, Placeholder):
            return NOTHING
        machine = machine_of(image.zvol)
        if machine is not None and self._state_of(machine) == "saved":
            raise BusyError(
                f"{machine} is saved on this host, and its memory belongs to {image.zvol}: rocks restore host vm "
                f"{machine} continues it, rocks stop host vm {machine} saved=remove discards what its guest had in "
                "memory"
            )
        return NOTHING

    def _require_closed(self, request: object, image: GrantedImage) -> Facts:
        """No guest has the device open. BusyError otherwise."""
        self._closed(image.zvol)
        return NOTHING

    def _closed(self, zvol: str) -> Optional[DmDeviceFact]:
        """The guest's device, if there is one. BusyError when it is open; a placeholder may be."""
        mapping = self._dm_devices.read(names.guest_device(zvol))
        if mapping is not None and isinstance(mapping.table, Placeholder):
            return mapping  # an arriving guest has it open, and has written nothing
        # udev opens a device for a moment after a guest has closed it
        deadline = Deadline(_UDEV_SECONDS)
        while mapping is not None and mapping.open_count and not deadline.passed():
            wait_seconds(_UDEV_POLL_SECONDS)
            mapping = self._dm_devices.read(mapping.name)
        if mapping is not None and mapping.open_count:
            # not StateError: the device may be closed at any moment, so the image is not blocked
            raise BusyError(
                f"{_MAPPER}{mapping.name} is in use by a running guest or a program; stop it first"
            )
        return mapping

    def _ensure_device_gone(self, request: object, image: GrantedImage) -> Facts:
        """The guest's device is gone.

        BusyError when it is open, or its guest was saved with it. A placeholder that an arriving guest has open
        stays.
        """
        mapping = self._dm_devices.read(names.guest_device(image.zvol))
        if mapping is not None and isinstance(mapping.table, Placeholder) and mapping.open_count:
            return NOTHING  # nothing was written to it, and the map may be repeated for the guest that waits
        self._require_unused(request, image)
        self._dm_devices.ensure_gone(names.guest_device(image.zvol), Deadline(_CLOSE_SECONDS))
        return NOTHING

    def _ensure_origin_gone(self, request: object, image: GrantedImage) -> Facts:
        """The origin device below the guest's device is gone."""
        self._dm_devices.ensure_gone(names.origin_device(image.zvol), Deadline(_CLOSE_SECONDS))
        return NOTHING

    # --- the origin

    def _ensure_remote_origin(self, request: object, image: GrantedImage) -> Facts:
        """The origin device is there, over the NAS's disk; one that is over the copy already stays."""
        name = names.origin_device(image.zvol)
        if self._read_usable(name) is not None:
            self._dm_devices.ensure_resumed(name)
            return NOTHING
        target = image.known.target
        session = next((one for one in self._sessions.read_sessions() if one.target == target), None)
        if session is None or not session.device_path:
            raise StateError(f"there is no disk of {target} on this host; a session is needed first")
        self._dm_devices.ensure(name, Linear(_sectors(image), session.device_path))
        return NOTHING

    def _ensure_local_origin(self, request: object, image: GrantedImage) -> Facts:
        """The origin device is there, over the copy.

        One that is over the NAS's disk is switched while the guest runs.
        """
        name = names.origin_device(image.zvol)
        mapping = self._read_usable(name)
        # after the merge the origin is no longer needed
        guest = self._dm_devices.read(names.guest_device(image.zvol))
        if mapping is None and guest is not None and isinstance(guest.table, Linear):
            return NOTHING
        self._switch_or_make(name, Linear(_sectors(image), self._local(image)), (Linear,))
        return NOTHING

    # --- the guest's device

    def _ensure_overlay_device(self, request: object, image: GrantedImage) -> Facts:
        """The guest's device is a snapshot of the origin over the temp-write volume. Facts: device."""
        name = names.guest_device(image.zvol)
        table = Snapshot(_sectors(image), *self._overlay(image))
        mapping = self._read_usable(name)
        if mapping is not None:
            self._dm_devices.ensure_resumed(name)
            if isinstance(mapping.table, Placeholder):
                self._dm_devices.switch(name, table, mapping.table)
        self._dm_devices.ensure(name, table)
        return Facts(device=f"{_MAPPER}{name}")

    def _ensure_merge_device(self, request: object, image: GrantedImage) -> Facts:
        """The guest's device merges the temp-write volume into the copy: same origin, same temp-write volume."""
        name = names.guest_device(image.zvol)
        mapping = self._dm_devices.read(name)
        if mapping is not None and isinstance(mapping.table, Linear):
            return NOTHING  # merged, and switched
        if mapping is not None and mapping.status is not None and mapping.status.state == "merge_failed":
            # the kernel tries again only with a new table, and fails again in a pool without free space
            self._check_free_space(image.pool, name)
            self._dm_devices.ensure_extended(name)
        self._switch_or_make(name, SnapshotMerge(_sectors(image), *self._overlay(image)), (Snapshot,))
        return NOTHING

    def _check_free_space(self, pool: str, name: str) -> None:
        fact = self._pools.read_pool(pool)
        if fact.free_bytes < unreservable_bytes(fact.size_bytes) // 2:
            raise BusyError(
                f"the merge of {_MAPPER}{name} has stopped: the pool {pool} has {size_text(fact.free_bytes)} free; "
                "free space there, then the merge continues"
            )

    def _wait_merged(self, request: object, image: GrantedImage) -> Facts:
        """Wait until the merge is complete.

        ToolError when the kernel reports the snapshot as invalid, full or failed.
        """
        name = names.guest_device(image.zvol)
        while True:
            mapping = self._dm_devices.read(name)
            if mapping is None:
                raise StateError(f"{_MAPPER}{name} disappeared during its merge")
            if mapping.is_suspended:
                self._dm_devices.ensure_resumed(name)
            if isinstance(mapping.table, Linear):
                return NOTHING
            status = mapping.status
            if status is None or not isinstance(mapping.table, SnapshotMerge):
                raise IncoherentError(f"{_MAPPER}{name} is not being merged: {mapping.table}")
            if status.is_merged:
                return NOTHING
            if status.state == "merge_failed":
                # not ToolError: without the merge the guest cannot go on, and the cause is mostly a full pool
                raise BusyError(
                    f"the merge of {_MAPPER}{name} has stopped: the kernel reports merge failed; it is tried "
                    "again; see `dmesg` on the host"
                )
            if status.state != "ok":
                raise ToolError(
                    f"the merge of {_MAPPER}{name} has stopped: the kernel reports {status.state}; "
                    "see `dmesg` on the host"
                )
            wait_seconds(_MERGE_POLL_SECONDS)

    def _ensure_linear_device(self, request: object, image: GrantedImage) -> Facts:
        """The guest's device is the copy itself; one that has been merged is switched. Facts: device."""
        name = names.guest_device(image.zvol)
        table = Linear(_sectors(image), self._local(image))
        self._switch_or_make(name, table, (SnapshotMerge, Placeholder))
        return Facts(device=f"{_MAPPER}{name}")

    def _switch_or_make(self, name: str, table: Table, may_follow: "tuple[type, ...]") -> None:
        """Ensure the table: a missing device is made, one with a table that this may follow is switched."""
        mapping = self._read_usable(name)
        if mapping is None:
            self._dm_devices.ensure(name, table)
            return
        if mapping.is_suspended or mapping.loaded_table is not None:
            self._dm_devices.ensure_resumed(name)
        if self._dm_devices.is_live(name, table):
            return
        live = mapping.table
        if not isinstance(live, may_follow):
            raise IncoherentError(
                f"{_MAPPER}{name} has the table {live}, which cannot be followed by {table}"
            )
        switched = self._dm_devices.switch(name, table, live)  # type: ignore[arg-type] # one of Table, by may_follow
        _log.info(
            "%s switched to %s: no I/O for %.1f ms, begun %.3f s ago",
            name,
            type(table).__name__,
            1000 * switched.stall_seconds,
            switched.whole_seconds,
        )

    def _read_usable(self, name: str) -> Optional[DmDeviceFact]:
        """The device, if it has a table; None means that the caller makes it.

        A device without a table is left for `ensure`, which completes it after a crash. A placeholder that no guest has
        open any more is removed: it may have another size.
        """
        mapping = self._dm_devices.read(name)
        if mapping is not None and isinstance(mapping.table, Placeholder) and not mapping.open_count:
            self._dm_devices.ensure_gone(name, Deadline(_CLOSE_SECONDS))
            return None
        return mapping if mapping is not None and mapping.table is not None else None

    # --- the temp-write volume, as a device

    def _require_temp_write(self, request: object, image: GrantedImage) -> Facts:
        """The temp-write volume is there with a valid header.

        IncoherentError otherwise: a restart makes no new one.
        """
        header = self._read_start(self._temp_write(image), _HEADER_BYTES)
        if header != _HEADER + (1).to_bytes(4, "little"):
            raise IncoherentError(
                f"the temp-write volume of {image.zvol} has no valid header ({header.hex()}); "
                "the guest's writes may be lost; the volume is left as it is"
            )
        return NOTHING

    def _require_temp_write_empty(self, request: object, image: GrantedImage) -> Facts:
        """The temp-write volume is empty or missing.

        Otherwise facts has_changes True, and the request ends here, done; the host then rebuilds the stage's
        devices.
        """
        mapping = self._dm_devices.read(names.guest_device(image.zvol))
        if mapping is not None and mapping.status is not None:
            return Facts(has_changes=not mapping.status.is_merged)
        volume = self._pools.read_volume(names.temp_write_volume(image.pool, image.zvol))
        if volume is None:
            return Facts(has_changes=False)
        return Facts(has_changes=_holds_exceptions(self._read_start(self._temp_write(image), _FIRST_BYTES)))

    # --- helpers

    def _local(self, image: GrantedImage) -> str:
        return self._pools.wait_for_device(f"{image.pool}/{image.zvol}", Deadline(DEVICE_SECONDS))

    def _temp_write(self, image: GrantedImage) -> str:
        name = names.temp_write_volume(image.pool, image.zvol)
        return self._pools.wait_for_device(name, Deadline(DEVICE_SECONDS))

    def _overlay(self, image: GrantedImage) -> "tuple[str, str]":
        return f"{_MAPPER}{names.origin_device(image.zvol)}", self._temp_write(image)


def _holds_exceptions(start: bytes) -> bool:
    """Whether the first entry of the first metadata area is in use: its new chunk is not 0, which no chunk is
    (dm-snap-persistent.c, struct disk_exception).
    """
    return start[:4] == _HEADER and any(start[_CHUNK_BYTES + 8 : _CHUNK_BYTES + 16])


def _sectors(image: GrantedImage) -> int:
    return image.known.size_bytes // BYTES_PER_SECTOR


# --- the listing of devices, in the shape that existing tools read --------------------------------------------------


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
