"""Volumes of this host's pools that no guest uses: listed, removed by a command, and proved by their NASes."""

from __future__ import annotations

import logging
from typing import Any, Dict, List, Optional, Tuple

from rocks.core.errors import BusyError, RocksError, StateError
from rocks.fleet.wire.codec import encode
from rocks.storage.host.copy_reports import report_copy
from rocks.storage.host.retained_copies import (
    Reserve,
    RetainedCopy,
    checked_copy,
    created_seconds,
    forget_copy,
    is_proved,
    quarantined_copies,
    retained_copies,
)
from rocks.storage.host.transfers import HostTransfers, Place
from rocks.storage.store.host import HostStore
from rocks.storage.wire.replies import CopyRow
from rocks.storage.zfs.pool import PoolDriver

_log = logging.getLogger(__name__)

_REASONS = {
    "clean": "retained: its NAS had all of it when it was written back",
    "dirty": "has changes that its NAS may not have",
    "suspect": "was changed after it was written back",
    "quarantined": "quarantined: it was given up, or another copy took its place",
}


class StoredCopies:
    """The copies of a host. `reserve` gives whether an image is unused."""

    def __init__(
        self,
        store: HostStore,
        pools: PoolDriver,
        own_pool: str,
        transfers: HostTransfers,
        reserve: Reserve,
    ) -> None:
        self._store = store
        self._pools = pools
        self._own_pool = own_pool
        self._transfers = transfers
        self._reserve = reserve

    def rows(self) -> List[Dict[str, Any]]:
        """Every copy that no guest uses, by name: size, time of its newest snapshot, and why it is here."""
        return [
            encode(
                CopyRow(
                    f"{copy.pool}/{copy.zvol}",
                    copy.kind,
                    copy.nas,
                    copy.used_bytes,
                    created_seconds(self._pools, copy),
                    _REASONS[copy.kind],
                )
            )
            for copy in self._copies()
        ]

    def remove(self, volume: str, force: bool) -> None:
        """Destroy a copy. StateError when there is no such copy, or, without `force`, its NAS does not have all of it.

        BusyError when its image is in use, or was a moment ago.
        """
        copy = next((one for one in self._copies() if f"{one.pool}/{one.zvol}" == volume), None)
        if copy is None:
            raise StateError(
                f"this host has no unused copy {volume}; `rocks list host storagecopy` lists the copies"
            )
        with self._reserve(copy.zvol) as is_idle:
            if not is_idle:
                raise BusyError(
                    f"the image of {volume} is in use, or was a moment ago; repeat the command later"
                )
            if not force and not is_proved(self._pools, copy, self.is_on_nas):
                known = copy.nas or "its NAS is unknown and"
                raise StateError(
                    f"{volume} is not destroyed: {known} does not confirm that it has all of it "
                    f"({_REASONS[copy.kind]}); force=yes destroys it all the same"
                )
            forget_copy(self._pools, copy.pool, copy.zvol, None if force else 0)
            if copy.kind != "quarantined" and self._store.copy(copy.zvol) is not None:
                # the NAS need not wait for changes that are no more
                report_copy(self._store, copy, "none", None)
        _log.warning("%s was destroyed by a command%s", volume, " (forced)" if force else "")

    def is_on_nas(self, copy: RetainedCopy) -> bool:
        """Whether the copy's NAS has its snapshot, asked now. False when it does not answer, or is older."""
        place = self._place_of(copy.nas)
        if place is None or copy.guid is None:
            return False
        try:
            return self._transfers.is_on_nas(place, copy.image_id, copy.epoch, copy.guid)
        except RocksError as error:
            _log.warning("%s/%s stays: %s", copy.pool, copy.zvol, error)
            return False

    def _copies(self) -> Tuple[RetainedCopy, ...]:
        used = {copy.known.zvol for copy in self._store.copies() if copy.known.stage != "none"}
        pools = {self._own_pool, *(copy.known.pool for copy in self._store.copies() if copy.known.pool)}
        found: List[RetainedCopy] = []
        for pool in sorted(pools):
            retained = [copy for copy in retained_copies(self._pools, pool) if copy.zvol not in used]
            found += [checked_copy(self._pools, copy) for copy in retained]
            found += quarantined_copies(self._pools, pool)
        return tuple(sorted(found, key=lambda copy: (copy.pool, copy.zvol)))

    def _place_of(self, nas: str) -> Optional[Place]:
        for copy in self._store.copies():
            details = copy.details
            if nas and details.get("nas") == nas and details.get("address") and details.get("stream_port"):
                return Place(nas, str(details["address"]), int(details["stream_port"]))
        return None
