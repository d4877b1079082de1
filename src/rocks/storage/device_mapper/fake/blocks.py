"""The block devices below `FakeKernel`: length, contents, and exceptions of COWs."""

from __future__ import annotations

from typing import Callable, Dict, Optional, Set

from rocks.core.errors import StateError
from rocks.storage.device_mapper.tables import CHUNK_SECTORS, SnapshotStatus

_ENTRIES = 512
"""Exceptions in a metadata chunk: 16 bytes each in 8 KiB."""


class FakeBlocks:
    """Devices by path, each with a kernel node.

    `find_device` returns the length in sectors of a device of another fake, or None. Exceptions belong to the COW
    device, so they persist when the snapshot is removed.
    """

    def __init__(self, find_device: Optional[Callable[[str], Optional[int]]] = None) -> None:
        self._find = find_device or (lambda path: None)
        self._made = 0
        self._own: Dict[str, int] = {}
        self._nodes: Dict[str, str] = {}
        self._paths: Dict[str, str] = {}
        self._cows: Dict[str, Dict[int, str]] = {}
        self.contents: Dict[str, Dict[int, str]] = {}
        self.invalid: Set[str] = set()

    def add(self, path: str, length_sectors: int) -> None:
        """Add an empty device, or change the length of an existing one."""
        self._own[path] = length_sectors

    def remove(self, path: str) -> None:
        """Remove a device with its contents."""
        self._own.pop(path, None)
        node = self._nodes.pop(path, "")
        for entries in (self.contents, self._cows, self._paths):
            entries.pop(node, None)
        self.invalid.discard(node)

    def node(self, path: str) -> str:
        """The kernel node of a device, by path or node. StateError when there is no such device."""
        if path in self._paths or path.startswith("/dev/dm-"):
            return path
        if self._own.get(path, self._find(path)) is None:
            raise StateError(f"this host has no device {path}: No such file or directory")
        if path not in self._nodes:
            self._made += 1
            node = f"/dev/fake{self._made}"
            self._nodes[path], self._paths[node] = node, path
            self.contents[node] = {}
        return self._nodes[path]

    def length(self, node: str) -> Optional[int]:
        """Length of a device in sectors."""
        path = self._paths.get(node, node)
        return self._own.get(path, self._find(path))

    def exceptions(self, cow: str) -> Dict[int, str]:
        """Exceptions of a COW: chunk → content."""
        return self._cows.setdefault(cow, {})

    def write_exception(self, cow: str, chunk: int, text: str) -> bool:
        """Write into a COW; False when it is full."""
        exceptions = self.exceptions(cow)
        status = status_of(len(exceptions), self.length(cow) or 0)
        if chunk not in exceptions and status.allocated_sectors + CHUNK_SECTORS > status.total_sectors:
            return False
        exceptions[chunk] = text
        return True


def status_of(exceptions: int, total_sectors: int) -> SnapshotStatus:
    """The status of a COW with this number of exceptions (persistent_usage in dm-snap-persistent.c)."""
    metadata_chunks = exceptions // _ENTRIES + 2
    return SnapshotStatus(
        (metadata_chunks + exceptions) * CHUNK_SECTORS, total_sectors, metadata_chunks * CHUNK_SECTORS, "ok"
    )
