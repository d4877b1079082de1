"""A part of a pool for one test: in memory, and on a machine that has ZFS."""

import os
from collections.abc import Mapping
from typing import Any, Protocol

from rocks.core.clock import Deadline
from rocks.core.process import run, run_checked
from rocks.storage.zfs.facts import SnapshotFact
from rocks.storage.zfs.pool import PoolDriver
from rocks.storage.zfs.tool import Transfer, ZfsCommandLine, zfs_when_free
from tests.fakes.zfs import FakePools, encode_begin

BLOCK = 16384
MIB = 1024 * 1024
SIZE = 16 * MIB
OTHER_GUID = "1234"
_PIECE_BYTES = 65536
_SECONDS = 60.0


class World(Protocol):
    """A file system `here` with nothing in it, and what others than we do with volumes below it."""

    pools: PoolDriver
    verbs: Any
    here: str

    def write(self, volume: str, data: bytes, offset: int = 0) -> None:
        """A guest writes through the volume's device, and flushes."""

    def read(self, name: str, length: int, offset: int = 0) -> bytes: ...  # what a guest would read
    def open_device(self, volume: str) -> None: ...  # an export takes the device for itself
    def close_device(self, volume: str) -> None: ...  # it lets go
    def leave_free(self, free_bytes: int) -> None: ...  # limits the free space
    def file_system_stream(self) -> bytes: ...  # what `zfs send` sends of a file system
    def package(self, volume: str, snapshot: str) -> bytes: ...  # what `zfs send -R` sends of a volume
    def names(self) -> list[str]: ...  # all datasets below `here`


class FakeWorld:
    def __init__(self) -> None:
        self.fake = FakePools({"tank": 8 * 1024 * MIB})
        self.pools: PoolDriver = self.fake
        self.verbs: Any = self.fake.fake
        self.here = "tank/contract"
        self.fake.add_file_system(self.here)

    def write(self, volume: str, data: bytes, offset: int = 0) -> None:
        self.fake.write(volume, data, offset)

    def read(self, name: str, length: int, offset: int = 0) -> bytes:
        return self.fake.read(name, length, offset)

    def open_device(self, volume: str) -> None:
        self.fake.open_device(volume)

    def close_device(self, volume: str) -> None:
        self.fake.close_device(volume)

    def leave_free(self, free_bytes: int) -> None:
        self.fake.leave_free("tank", free_bytes)

    def file_system_stream(self) -> bytes:
        return encode_begin("77", None, "tank/home@one", object_set=2) + bytes(MIB)

    def package(self, volume: str, snapshot: str) -> bytes:
        return encode_begin("0", None, f"{volume}@{snapshot}", kind=2) + bytes(MIB)

    def names(self) -> list[str]:
        return [fact.name for fact in self.fake.list_volumes(self.here)]


class RealWorld:
    """Below a file system of its own in the first pool of this machine."""

    def __init__(self) -> None:
        pool = run_checked(["zpool", "list", "-H", "-o", "name"], deadline_seconds=_SECONDS).text.split()[0]
        self.verbs: Any = ZfsCommandLine()
        self.pools = PoolDriver(self.verbs)
        self.here = f"{pool}/contract-{os.getpid()}"
        self._open: dict[str, int] = {}
        self._zfs("create", "-o", "canmount=off", "-o", "mountpoint=none", self.here)

    def write(self, volume: str, data: bytes, offset: int = 0) -> None:
        device = os.open(self.pools.wait_for_device(volume, Deadline(_SECONDS)), os.O_RDWR)
        try:
            assert os.pwrite(device, data, offset) == len(data)
            os.fsync(device)
        finally:
            os.close(device)

    def read(self, name: str, length: int, offset: int = 0) -> bytes:
        device = os.open(self.pools.wait_for_device(name, Deadline(_SECONDS)), os.O_RDONLY)
        try:
            return os.pread(device, length, offset)
        finally:
            os.close(device)

    def open_device(self, volume: str) -> None:
        path = self.pools.wait_for_device(volume, Deadline(_SECONDS))
        self._open[volume] = os.open(path, os.O_RDWR | os.O_EXCL)

    def close_device(self, volume: str) -> None:
        os.close(self._open.pop(volume))

    def leave_free(self, free_bytes: int) -> None:
        used = run_checked(
            ["zfs", "get", "-Hp", "-o", "value", "used", self.here], deadline_seconds=_SECONDS
        ).text
        self._zfs("set", f"quota={int(used) + free_bytes}", self.here)

    def file_system_stream(self) -> bytes:
        name = f"{self.here}/home"
        self._zfs("create", "-o", "canmount=off", "-o", "mountpoint=none", name)
        self._zfs("snapshot", f"{name}@one")
        stream = run_checked(["zfs", "send", f"{name}@one"], deadline_seconds=_SECONDS).output
        self._zfs("destroy", "-r", name)
        return stream

    def package(self, volume: str, snapshot: str) -> bytes:
        return run_checked(["zfs", "send", "-R", f"{volume}@{snapshot}"], deadline_seconds=_SECONDS).output

    def names(self) -> list[str]:
        return sorted(self._lines("list", "-H", "-o", "name", "-r", "-t", "all", self.here)[1:])

    def remove(self) -> None:
        """Take away everything below `here`, which is the test's own."""
        for device in self._open.values():
            os.close(device)
        names = run_checked(
            ["zfs", "list", "-H", "-o", "name", "-r", "-t", "snapshot", self.here], deadline_seconds=_SECONDS
        ).text.split()
        for line in self._lines("holds", "-H", *names) if names else []:
            self._zfs("release", line.split("\t")[1], line.split("\t")[0])
        run(["udevadm", "settle"], deadline_seconds=_SECONDS)
        zfs_when_free("destroy", "-R", self.here)

    def _lines(self, *arguments: str) -> list[str]:
        return run_checked(["zfs", *arguments], deadline_seconds=_SECONDS).text.splitlines()

    def _zfs(self, *arguments: str) -> None:
        self._lines(*arguments)


def pump(send: Transfer, receive: Transfer, max_bytes: int | None = None) -> int:
    """Carry a stream over, or only its beginning; returns how many bytes that was."""
    received = 0
    while max_bytes is None or received < max_bytes:
        count = _PIECE_BYTES if max_bytes is None else min(_PIECE_BYTES, max_bytes - received)
        piece = send.stream.read(count)
        if not piece:
            break
        try:
            receive.stream.write(piece)
        except BrokenPipeError:
            break
        received += len(piece)
    return received


def transfer(send: Transfer, receive: Transfer) -> int:
    received = pump(send, receive)
    send.finish(Deadline(_SECONDS))
    receive.finish(Deadline(_SECONDS))
    return received


def soon() -> Deadline:
    return Deadline(_SECONDS)


def take_snapshot(
    world: World, volume: str, name: str, properties: Mapping[str, str] | None = None
) -> SnapshotFact:
    """A snapshot of a volume that is there."""
    fact = world.pools.read_volume(volume)
    return world.pools.ensure_snapshot(volume, fact.guid, name, properties or {})


def make_volume(world: World, name: str) -> tuple[str, str]:
    """A volume of `SIZE` below `here`: its whole name and its guid."""
    volume = f"{world.here}/{name}"
    assert world.pools.ensure_volume(volume, SIZE, BLOCK).changed
    fact = world.pools.read_volume(volume)
    return volume, fact.guid
