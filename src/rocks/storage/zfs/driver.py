"""Operations on ZFS.

`volumes.py`, `snapshots.py` and `stream_operations.py` decide by the rules of `rules.py`, and act by `ZfsCommands`: in
`command_line.py` by the programs `zfs` and `zpool`, in `fake/pools.py` in memory.
"""

from __future__ import annotations

from rocks.storage.zfs.snapshots import SnapshotOperations
from rocks.storage.zfs.stream_operations import StreamOperations
from rocks.storage.zfs.volumes import VolumeOperations


class PoolDriver(VolumeOperations, SnapshotOperations, StreamOperations):
    """Pools of a host. Every method raises StateError when the pool is missing: a lost pool is not an empty pool.

    Volumes are specified by full name (`tank/vm-vc1-0-vol`), snapshots and bookmarks of a volume by the part after `@`
    or `#`. Methods with a guid raise IncoherentError when the dataset of that name has another guid, and change
    nothing. Every `ensure_` method is idempotent and tolerates a concurrent call with the same effect. Any thread may
    use it.
    """
