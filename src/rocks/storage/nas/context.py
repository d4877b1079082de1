"""What most parts of the daemon of a NAS use: the volumes, the images, the records, and what is under way."""

from __future__ import annotations

from typing import NamedTuple

from rocks.storage.nas.engine import Engine
from rocks.storage.nas.progress import ProgressBoard
from rocks.storage.store.nas import NasStore
from rocks.storage.zfs.driver import PoolDriver


class NasContext(NamedTuple):
    """Of one NAS."""

    pools: PoolDriver
    engine: Engine
    store: NasStore
    progress: ProgressBoard
