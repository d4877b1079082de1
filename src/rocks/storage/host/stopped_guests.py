"""Guests that stand still for want of space: paused here, or stopped by QEMU at a write that failed.

QEMU stops a guest at a failed write (`error_policy=stop`) and repeats the write when the guest is resumed, so the guest
never learns of it. A guest that a person has paused is never resumed here.
"""

from __future__ import annotations

import logging
from typing import Dict

from rocks.core.units import size_text
from rocks.storage.host.guests import OpenGuests, machine_of
from rocks.storage.life.host_image import HostImage
from rocks.storage.life.pool_rest import unreservable_bytes
from rocks.storage.store.host import HostStore
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
