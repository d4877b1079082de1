"""Destroys expired automatic snapshots of images; one thread."""

from __future__ import annotations

import logging
from typing import Callable, Dict, FrozenSet, Optional, Tuple

from rocks.core.errors import RocksError
from rocks.core.periodic import PeriodicThread
from rocks.storage.life.image import Image
from rocks.storage.life.snapshot_retention import Snapshot, expired
from rocks.storage.life.states import LOCAL, PULLING, UNMAPPED
from rocks.storage.nas.engine import Engine
from rocks.storage.zfs.pool import PoolDriver

_log = logging.getLogger(__name__)

_ROUND_SECONDS = 60.0
_QUIET_STATES = (UNMAPPED, LOCAL, PULLING)

_Seen = Tuple[Optional[str], int]


class SnapshotExpiry(PeriodicThread):
    """Checks an image's snapshots when it has a new base, and once an hour, since retention counts hours and days."""

    def __init__(self, engine: Engine, pools: PoolDriver, each_round: Callable[[], None]) -> None:
        """`each_round` is called once a minute too."""
        super().__init__("snapshot-expiry", _ROUND_SECONDS, self.look, "expired snapshots were not sought")
        self._each_round = each_round
        self._engine = engine
        self._pools = pools
        self._seen: Dict[str, _Seen] = {}
        self._failures: Dict[str, str] = {}
        """Image → why its snapshots stay, as it was logged."""
        self._rounds = 0

    def look(self) -> None:
        """One round."""
        self._rounds += 1
        try:
            self._each_round()
        except Exception:  # noqa: BLE001 - it must not end the thread of all
            _log.exception("a fault in what is done each minute; please report this")
        for image in self._engine.images():
            seen = (image.base_guid, self._rounds // 60)
            if (
                self._stopping.is_set()
                or image.state not in _QUIET_STATES
                or self._seen.get(image.image_id) == seen
            ):
                continue
            try:
                self._trim(image)
                self._seen[image.image_id] = seen
                self._failures.pop(image.image_id, None)
            except RocksError as error:
                if self._failures.get(image.image_id) != str(error):
                    self._failures[image.image_id] = str(error)
                    _log.warning("old snapshots of %s stay: %s", image.zvol, error)
            except Exception:  # noqa: BLE001 - one image's fault must not end the thread of all
                _log.exception("a fault at the snapshots of %s; please report this", image.zvol)

    def _trim(self, image: Image) -> None:
        snapshots = [
            Snapshot(
                one.name,
                one.guid,
                one.createtxg,
                one.created_seconds,
                bool(one.holds),
                bool(one.clones),
            )
            for one in self._pools.read_history(image.volume).snapshots
        ]
        for one in expired(snapshots, _needed(image)):
            self._pools.ensure_snapshot_gone(image.volume, one.name, one.guid)


def _needed(image: Image) -> FrozenSet[str]:
    guids = {image.base_guid, image.final_guid, *(copy.guid for copy in image.copies)}
    return frozenset(guid for guid in guids if guid is not None)
