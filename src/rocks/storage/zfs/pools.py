"""Pools, volumes, snapshots and streams of this machine.

`volumes.py`, `snapshots.py` and `streams.py` decide by the rules of `rules.py`, `command_line.py` runs the programs.
`fake/` implements the same Protocols in memory.
"""

from __future__ import annotations

from rocks.storage.zfs.command_line import ZfsCommandLine
from rocks.storage.zfs.snapshots import SnapshotOperations
from rocks.storage.zfs.streams import StreamOperations
from rocks.storage.zfs.volumes import VolumeOperations


class Pools(VolumeOperations, SnapshotOperations, StreamOperations):
    """The pools of this machine; needs root. Stateless and thread-safe."""

    def __init__(self) -> None:
        super().__init__(ZfsCommandLine())
