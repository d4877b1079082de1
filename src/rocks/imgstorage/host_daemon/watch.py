"""Watches temp-write volumes: none may ever be full, or device-mapper takes a guest's writes for failed.

A temp-write volume is as large as its image, so what can run out is the pool. More of it is reserved in time; when
there is no more, the guest is paused, and goes on when there is room again or its image has become local.
"""

from __future__ import annotations

import logging
import re
import threading
from typing import Callable, ContextManager, Dict, NamedTuple, Optional

from rocks.clock import monotonic_seconds
from rocks.devices.device_mapper.driver import DmDriver
from rocks.devices.device_mapper.tables import SnapshotMerge
from rocks.devices.libvirt.driver import DomainDriver
from rocks.devices.zfs.driver import PoolDriver
from rocks.devices.zfs.facts import VolumeFact
from rocks.errors import RocksError
from rocks.imgstorage.model.names import guest_device, temp_write_volume
from rocks.imgstorage.model.space import (
    FillFact,
    TempWriteFact,
    poll_seconds,
    temp_write_fill,
    temp_write_step,
)
from rocks.imgstorage.store.host import CopyRecord, HostStore
from rocks.units import BYTES_PER_SECTOR, gigabytes

_log = logging.getLogger(__name__)

_CALM_SECONDS = 2.0
_SHORTEST_SECONDS = 0.5
"""Two looks that follow each other faster tell nothing about a rate."""

_GO_ON_BELOW = 0.8
_AHEAD_SECONDS = 120
_HURRY_PERCENT = 80
_MACHINE = re.compile(r"(.+)-vol[0-9]*\Z")


class _Seen(NamedTuple):
    used_bytes: int
    at: float


class TempWriteWatch:
    """One thread for all images of the host; nothing that it meets ends it."""

    def __init__(
        self,
        store: HostStore,
        pools: PoolDriver,
        mappings: DmDriver,
        open_domains: Callable[[], ContextManager[DomainDriver]],
    ) -> None:
        """`open_domains` is called when a guest must be paused, and not before."""
        self._store = store
        self._pools = pools
        self._mappings = mappings
        self._open_domains = open_domains
        self._seen: Dict[str, _Seen] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End, after the present round."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        pause = _CALM_SECONDS
        while not self._stopping.wait(pause):
            pause = self.look()

    def look(self) -> float:
        """One round; returns the seconds until the next."""
        pause = _CALM_SECONDS
        for copy in self._store.copies():
            try:
                if copy.known.stage in ("overlay", "merging"):
                    pause = min(pause, self._look_at(copy))
                else:
                    self._seen.pop(copy.known.zvol, None)
                    self._let_go(copy.known.zvol)
            except RocksError as error:
                _log.warning("the temp-write volume of %s cannot be watched: %s", copy.known.zvol, error)
            except Exception:  # noqa: BLE001 - the watch must outlive its own faults
                _log.exception("a fault in watching %s; please report this", copy.known.zvol)
        return pause

    def _look_at(self, copy: CopyRecord) -> float:
        zvol, pool = copy.known.zvol, copy.known.pool or ""
        mapping = self._mappings.read(guest_device(zvol))
        volume = self._pools.read_volume(temp_write_volume(pool, zvol))
        if mapping is None or mapping.status is None or volume is None:
            return _CALM_SECONDS
        fill = self._fill(zvol, mapping.status.allocated_sectors * BYTES_PER_SECTOR, volume)
        if mapping.status.state != "ok":
            # its writes fail from here on; what it wrote before is there
            self._pause(zvol, fill)
            return _CALM_SECONDS
        if isinstance(mapping.table, SnapshotMerge):
            # nothing new comes into a temp-write volume that is being merged; the stage alone does not say that it is
            self._let_go(zvol)
            return _CALM_SECONDS
        step = temp_write_step(fill)
        if step == "extend":
            self._reserve(zvol, volume, fill)
        elif step == "pause":
            self._pause(zvol, fill)
        elif fill.is_reserved or fill.used_bytes < _GO_ON_BELOW * fill.size_bytes:
            self._let_go(zvol)
        return poll_seconds(fill)

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
        """Half of what is to spare is left to others, until it is this one or its guest."""
        ahead = max(fill.used_bytes // 2, fill.bytes_per_second * _AHEAD_SECONDS)
        spare = fill.spare_bytes if fill.percent >= _HURRY_PERCENT else fill.spare_bytes // 2
        taken = max(fill.used_bytes, volume.reserved_bytes)
        reserved = min(fill.whole_bytes, fill.used_bytes + ahead, taken + spare)
        if reserved > volume.reserved_bytes:
            self._pools.ensure_reserved(volume.name, volume.guid, reserved)
            _log.info("%s: %s are reserved for what its guest writes meanwhile", zvol, gigabytes(reserved))

    def _pause(self, zvol: str, fill: FillFact) -> None:
        name = _machine(zvol)
        if name is None:
            return
        with self._open_domains() as domains:
            fact = domains.find(name)
            if fact is None or fact.state not in ("running", "blocked"):
                return  # it writes nothing, and whoever has paused it lets it go on
            # also one that was paused before: somebody may have let it go on, or this daemon ended in between
            self._store.set_paused(zvol)
            domains.suspend(name)
        _log.error(
            "%s is paused: the pool has no room for what it writes while its image is copied (%s of %s are used); "
            "make room in the pool, it then goes on by itself",
            name,
            gigabytes(fill.used_bytes),
            gigabytes(fill.size_bytes),
        )

    def _let_go(self, zvol: str) -> None:
        name = _machine(zvol)
        if name is None or zvol not in self._store.paused():
            return
        with self._open_domains() as domains:
            fact = domains.find(name)
            if fact is not None and fact.state == "paused":
                domains.resume(name)
                _log.info("%s goes on", name)
        self._store.set_resumed(zvol)


def _machine(zvol: str) -> Optional[str]:
    """The virtual machine of an image, by the volume's name."""
    match = _MACHINE.match(zvol)
    return None if match is None else match.group(1)
