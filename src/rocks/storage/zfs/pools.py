"""Pools, volumes, snapshots and streams of this machine."""

from __future__ import annotations

from rocks.storage.zfs.command_line import ZfsCommandLine
from rocks.storage.zfs.driver import PoolDriver


class Pools(PoolDriver):
    """The pools of this machine; needs root. Stateless and thread-safe."""

    def __init__(self) -> None:
        super().__init__(ZfsCommandLine())
