"""Contents of a pool in memory: volumes as blocks, each with the transaction group that wrote it."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import field
from typing import Dict, List, Mapping, NamedTuple, Optional, Set, Tuple

from rocks.core.dataclasses import dataclass

METADATA_BYTES = 57344
"""Metadata that ZFS writes with any change of a volume."""

LOG_HEADER_BYTES = 8192
"""Counts as written after a rollback."""

_numbers = itertools.count(1)


def new_guid() -> str:
    """A guid that is unique in this process; half of them exceed a signed number of 64 bits."""
    return str(int.from_bytes(hashlib.blake2b(b"%d" % next(_numbers), digest_size=8).digest(), "big"))


class Block(NamedTuple):
    """Data of a block (None: a hole) and the transaction group that wrote it."""

    birth: int
    data: Optional[bytes]


Blocks = Dict[int, Block]


@dataclass
class Snapshot:
    """A snapshot by the part after `@`."""

    name: str
    guid: str
    txg: int
    seconds: int
    blocks: Blocks
    size_bytes: int
    holds: Set[str] = field(default_factory=set)
    properties: Dict[str, str] = field(default_factory=dict)


class Bookmark(NamedTuple):
    """A bookmark by the part after `#`."""

    name: str
    guid: str
    txg: int


@dataclass
class Partial:
    """A partial receive."""

    to_guid: str
    from_guid: Optional[str]
    to_name: str
    blocks: Dict[int, Optional[bytes]] = field(default_factory=dict)
    records_done: int = 0
    bytes_done: int = 0


@dataclass
class Volume:
    """A volume; without a size, only its interrupted first receive exists."""

    name: str
    guid: str
    size_bytes: int
    block_bytes: int
    reserved_bytes: int = 0
    origin: Optional[str] = None
    properties: Dict[str, str] = field(default_factory=dict)
    blocks: Blocks = field(default_factory=dict)
    snapshots: List[Snapshot] = field(default_factory=list)
    bookmarks: List[Bookmark] = field(default_factory=list)
    partial: Optional[Partial] = None
    shaped_txg: int = 0
    created_txg: int = 0
    log_bytes: int = 0
    shows_snapshots: bool = False
    is_synchronous: bool = False
    is_read_only: bool = False
    is_open: bool = False
    is_receiving: bool = False

    def written_since(self, txg: int) -> int:
        """Bytes written after that transaction group: blocks and metadata."""
        later = [block for block in self.blocks.values() if block.birth > txg]
        data = sum(self.block_bytes for block in later if block.data is not None)
        return data + METADATA_BYTES if later or self.shaped_txg > txg else 0

    def referenced_bytes(self) -> int:
        """Bytes of the current blocks."""
        return METADATA_BYTES + self.block_bytes * sum(
            block.data is not None for block in self.blocks.values()
        )

    def used_bytes(self, not_own: Blocks) -> int:
        """Bytes of all blocks of the volume and its snapshots, without those of its origin."""
        histories = [self.blocks, *(snapshot.blocks for snapshot in self.snapshots)]
        own: Set[Tuple[int, int]] = {
            (number, block.birth)
            for blocks in histories
            for number, block in blocks.items()
            if block.data is not None and not_own.get(number) != block
        }
        partial = sum(map(len, filter(None, self.partial.blocks.values()))) if self.partial else 0
        return METADATA_BYTES + len(own) * self.block_bytes + partial


@dataclass
class Pool:
    """A pool and its datasets."""

    name: str
    size_bytes: int
    health: str = "ONLINE"
    is_imported: bool = True
    txg: int = 10
    volumes: Dict[str, Volume] = field(default_factory=dict)
    file_systems: Set[str] = field(default_factory=set)

    def next_txg(self) -> int:
        """A new transaction group."""
        self.txg += 1
        return self.txg

    def find_snapshot(self, name: str) -> Optional[Snapshot]:
        """A snapshot by its full name."""
        volume, _, part = name.partition("@")
        snapshots = self.volumes[volume].snapshots if volume in self.volumes else []
        return next((snapshot for snapshot in snapshots if snapshot.name == part), None)

    def clones_of(self, snapshot: str) -> Tuple[str, ...]:
        """The clones of a snapshot (full name)."""
        clones = [name for name, volume in list(self.volumes.items()) if volume.origin == snapshot]
        name, _, part = snapshot.partition("@")
        volume = self.volumes.get(name)
        if volume is not None and volume.partial and volume.size_bytes and volume.snapshots[-1].name == part:
            clones.append(f"{name}/%recv")  # ZFS stores a partial receive there
        return tuple(sorted(clones))

    def used_by(self, volume: Volume) -> int:
        """Bytes that a volume uses or reserves."""
        origin = self.find_snapshot(volume.origin) if volume.origin else None
        return max(volume.reserved_bytes, volume.used_bytes(origin.blocks if origin else {}))

    def free_bytes(self) -> int:
        """Free space in bytes."""
        return max(0, self.size_bytes - sum(map(self.used_by, list(self.volumes.values()))))

    def write(self, volume: Volume, data: Mapping[int, Optional[bytes]]) -> None:
        """Change blocks of a volume, in one new transaction group."""
        txg = self.next_txg()
        for number, block in data.items():
            volume.blocks[number] = Block(txg, block)
