"""Watches temp-write volumes: none may become full, or device-mapper fails the guest's writes.

A temp-write volume is as large as its image, so only the pool can run out. More of it is reserved in time; when
that is impossible, the guest is paused until there is free space or its image has become local. One that has become
full all the same, as when somebody else fills the pool between two looks, is reserved and activated again.

QEMU stops a guest at a failed write (`error_policy=stop`) and repeats the write when the guest is resumed, so the guest
never learns of it. A guest that a person has paused is never resumed here.
"""

from __future__ import annotations

import logging
from typing import Dict, NamedTuple

from rocks.core.clock import Deadline, monotonic_seconds
from rocks.core.errors import RocksError
from rocks.core.periodic import PeriodicThread
from rocks.core.values import BYTES_PER_GIB, BYTES_PER_SECTOR, size_text
from rocks.storage.device_mapper.dm_devices import DmDevices
from rocks.storage.device_mapper.tables import DmDeviceFact, ErrorTable, Snapshot, SnapshotMerge
from rocks.storage.host.guests import OpenGuests, machine_of
from rocks.storage.image.image import HostImage
from rocks.storage.image.names import guest_device, origin_device, temp_write_volume
from rocks.storage.image.space import (
    GO_ON_PERCENT,
    FillFact,
    TempWriteFact,
    poll_seconds,
    temp_write_fill,
    temp_write_step,
    unreservable_bytes,
)
from rocks.storage.store.host import CopyRecord, HostStore
from rocks.storage.zfs.facts import VolumeFact
from rocks.storage.zfs.pool import PoolDriver

_log = logging.getLogger(__name__)

_ROUNDS = 15
"""libvirt is asked about guests of local images in every so many rounds, and in each while the pool is short."""


class StoppedGuests:
    """Pauses and resumes guests. `begin_round` is called before each round of `look_at`."""

    def __init__(self, store: HostStore, pools: PoolDriver, open_domains: OpenGuests) -> None:
        self._store = store
        self._pools = pools
        self._open_domains = open_domains
        self._rounds = 0
        self._short: Dict[str, bool] = {}
        self._logged: Dict[str, bool] = {}

    def begin_round(self) -> None:
        """Pools are read anew, once each."""
        self._rounds += 1
        self._short = {}

    def look_at(self, known: HostImage) -> None:
        """An image without a temp-write volume: its guest goes on when its pool has space.

        The pool of an image that is not copied is that of its NAS, which this host cannot see: it is tried.
        """
        is_local = known.stage == "linear" and known.pool is not None
        is_short = is_local and self._is_short(known.pool or "")
        is_stopped = False
        if known.stage != "none" and (is_short or self._rounds % _ROUNDS == 1):
            is_stopped = self._note_stop(known.zvol)
        if not (is_short and is_stopped):
            self.resume(known.zvol)

    def pause(self, zvol: str) -> bool:
        """Pause its guest; False when it is paused already, does not run, or is no virtual machine's."""
        name = machine_of(zvol)
        if name is None:
            return False
        with self._open_domains() as domains:
            fact = domains.find(name)
            if fact is None or fact.state not in ("running", "blocked"):
                # it writes nothing; an operator who paused it resumes it
                if fact is not None and domains.is_stopped_by_disk(name):
                    self._store.set_paused(zvol)
                return False
            # also one that was paused before: an operator may have resumed it, or this daemon ended in between
            self._store.set_paused(zvol)
            domains.suspend(name)
        return True

    def resume(self, zvol: str) -> None:
        """Resume its guest, if it is stopped for want of space."""
        name = machine_of(zvol)
        if name is None or zvol not in self._store.paused():
            return
        with self._open_domains() as domains:
            fact = domains.find(name)
            if fact is not None and fact.state == "paused":
                domains.resume(name)
                _log.info("%s resumes", name)
        self._store.set_resumed(zvol)

    def is_paused(self, zvol: str) -> bool:
        """Whether its guest is stopped."""
        name = machine_of(zvol)
        if name is None:
            return False
        with self._open_domains() as domains:
            fact = domains.find(name)
        return fact is not None and fact.state == "paused"

    def _note_stop(self, zvol: str) -> bool:
        """Record that QEMU has stopped its guest at a write that failed; False when it has not."""
        name = machine_of(zvol)
        if name is None:
            return False
        with self._open_domains() as domains:
            if not domains.is_stopped_by_disk(name):
                return False
        if zvol not in self._store.paused():
            self._store.set_paused(zvol)
            _log.error("%s was stopped at a write that failed; it resumes when there is free space", name)
        return True

    def _is_short(self, pool: str) -> bool:
        """Whether a write to the pool may fail: less than half of what is never reserved is free."""
        if pool not in self._short:
            fact = self._pools.read_pool(pool)
            is_short = fact.free_bytes < unreservable_bytes(fact.size_bytes) // 2
            if is_short and not self._logged.get(pool):
                _log.error(
                    "the pool %s has %s free: guests stop at writes that fail, and resume when there is space",
                    pool,
                    size_text(fact.free_bytes),
                )
            self._short[pool] = self._logged[pool] = is_short
        return self._short[pool]


# --- the watch -------------------------------------------------------------------------------------------------------


_CALM_SECONDS = 2.0
_SHORTEST_SECONDS = 0.5
"""The least time between two polls for a rate."""

_AHEAD_SECONDS = 120
_DEVICE_SECONDS = 10.0
_LEAST_BYTES = BYTES_PER_GIB // 16
"""The least space: with less, a snapshot that is activated again would soon take no writes once more."""

_BROKEN = ("overflow", "invalid")
"""States of a snapshot that takes no writes until it is activated again."""


class _Seen(NamedTuple):
    used_bytes: int
    at: float


class TempWriteWatch(PeriodicThread):
    """One thread for all images of the host; no error ends it."""

    def __init__(
        self,
        store: HostStore,
        pools: PoolDriver,
        dm_devices: DmDevices,
        open_domains: OpenGuests,
    ) -> None:
        """`open_domains` is called when a guest must be paused, and not before."""
        super().__init__("watch", _CALM_SECONDS, self.look, "a round of the watch failed")
        self._store = store
        self._pools = pools
        self._dm_devices = dm_devices
        self._open_domains = open_domains
        self._stopped_guests = StoppedGuests(store, pools, open_domains)
        self._seen: Dict[str, _Seen] = {}
        self._failures: Dict[str, str] = {}
        """Image → why it could not be watched in the last round, as it was logged."""

    def look(self) -> float:
        """One round; returns the seconds until the next."""
        pause = _CALM_SECONDS
        failures: Dict[str, str] = {}
        self._stopped_guests.begin_round()
        for copy in self._store.copies():
            try:
                if copy.known.stage in ("overlay", "merging"):
                    pause = min(pause, self._look_at(copy))
                else:
                    self._seen.pop(copy.known.zvol, None)
                    self._stopped_guests.look_at(copy.known)
            except RocksError as error:
                zvol = copy.known.zvol
                failures[zvol] = str(error)
                if self._failures.get(zvol) != failures[zvol]:
                    _log.warning("the temp-write volume of %s cannot be watched: %s", zvol, error)
            except Exception:  # noqa: BLE001 - the watch must outlive its own faults
                _log.exception("a fault in watching %s; please report this", copy.known.zvol)
        self._failures = failures
        return pause

    def _look_at(self, copy: CopyRecord) -> float:
        zvol, pool = copy.known.zvol, copy.known.pool or ""
        mapping = self._dm_devices.read(guest_device(zvol))
        volume = self._pools.read_volume(temp_write_volume(pool, zvol))
        if mapping is None or volume is None:
            return _CALM_SECONDS
        if isinstance(mapping.table, ErrorTable) or (mapping.status and mapping.status.state in _BROKEN):
            self._activate_again(zvol, mapping, volume)
            return _CALM_SECONDS
        if mapping.status is None:
            return _CALM_SECONDS
        fill = self._fill(zvol, mapping.status.allocated_sectors * BYTES_PER_SECTOR, volume)
        if mapping.status.state != "ok":
            # further writes fail; earlier ones are safe
            self._pause(zvol, fill)
            return _CALM_SECONDS
        if isinstance(mapping.table, SnapshotMerge):
            # a temp-write volume takes no new data during the merge; the stage alone does not show the merge
            self._stopped_guests.resume(zvol)
            return _CALM_SECONDS
        step = temp_write_step(fill)
        if step == "extend":
            self._reserve(zvol, volume, fill)
        elif step == "pause":
            self._pause(zvol, fill)
        elif fill.is_reserved or fill.used_bytes < GO_ON_PERCENT / 100 * fill.size_bytes:
            self._stopped_guests.resume(zvol)
        return poll_seconds(fill)

    def _activate_again(self, zvol: str, mapping: DmDeviceFact, volume: VolumeFact) -> None:
        """Let a snapshot take writes again: pause its guest, then, with space, reserve and activate it again.

        Its table is replaced by one whose I/O fails for a moment, so a device that others have open stays as it is.
        """
        self._seen.pop(zvol, None)
        fill = self._fill(zvol, volume.referenced_bytes, volume)
        self._pause(zvol, fill)
        if mapping.open_count and not self._stopped_guests.is_paused(zvol):
            return
        if not fill.is_reserved:
            if temp_write_step(fill) == "pause" or fill.size_bytes - fill.used_bytes < _LEAST_BYTES:
                return
            self._reserve(zvol, volume, fill)
        pool = volume.name.partition("/")[0]
        kind = SnapshotMerge if isinstance(mapping.table, SnapshotMerge) else Snapshot
        length = 0 if mapping.table is None else mapping.table.length_sectors
        cow = self._pools.wait_for_device(temp_write_volume(pool, zvol), Deadline(_DEVICE_SECONDS))
        table = kind(length, f"/dev/mapper/{origin_device(zvol)}", cow)
        if self._dm_devices.ensure_reactivated(mapping.name, table).changed:
            _log.warning("%s takes writes again: there is space for them, and none was lost", mapping.name)
        self._stopped_guests.resume(zvol)

    def _fill(self, zvol: str, used: int, volume: VolumeFact) -> FillFact:
        now = monotonic_seconds()
        before = self._seen.get(zvol)
        self._seen[zvol] = _Seen(used, now)
        rate = 0
        if before is not None and now > before.at + _SHORTEST_SECONDS:
            rate = max(0, int((used - before.used_bytes) / (now - before.at)))
        pool = self._pools.read_pool(volume.name.partition("/")[0])
        return temp_write_fill(
            TempWriteFact(
                volume.size_bytes,
                used,
                volume.reserved_bytes,
                pool.size_bytes,
                pool.free_bytes,
                rate,
                volume.referenced_bytes,
            )
        )

    def _reserve(self, zvol: str, volume: VolumeFact, fill: FillFact) -> None:
        """Reserve ahead. Half of the free space is left to others, unless this guest would have to pause."""
        ahead = max(fill.used_bytes // 2, fill.bytes_per_second * _AHEAD_SECONDS)
        extra = fill.reservable_bytes if fill.percent >= GO_ON_PERCENT else fill.reservable_bytes // 2
        taken = max(fill.used_bytes, volume.reserved_bytes)
        reserved = min(fill.whole_bytes, fill.used_bytes + ahead, taken + extra)
        if reserved > volume.reserved_bytes:
            self._pools.ensure_reserved(volume.name, volume.guid, reserved)
            _log.info("%s: %s are reserved for its guest's writes", zvol, size_text(reserved))

    def _pause(self, zvol: str, fill: FillFact) -> None:
        if not self._stopped_guests.pause(zvol):
            return
        _log.error(
            "%s is paused: the pool has no free space for its writes while its image is copied (%s of %s are used); "
            "free space in the pool, then this daemon resumes it",
            machine_of(zvol),
            size_text(fill.used_bytes),
            size_text(fill.size_bytes),
        )
