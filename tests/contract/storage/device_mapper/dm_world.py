"""Actions of the device-mapper contract tests on a host, and a host in memory; `dm_real_world` has the real one."""

from typing import Protocol

from rocks.storage.device_mapper.dm_devices import DmDevices
from rocks.storage.device_mapper.tables import UUID_PREFIX, Linear, Snapshot, SnapshotMerge, Switched, Table
from tests.fakes.device_mapper import FakeKernel

SECTORS_PER_MB = 2048
POOL = "vmpool"
PREFIX = "contract-dm-"
SECTORS = 8 * SECTORS_PER_MB
ORIGIN = f"{PREFIX}a-origin"
SNAP = f"{PREFIX}a-snap"
ORIGIN_PATH = f"/dev/mapper/{ORIGIN}"
SNAP_PATH = f"/dev/mapper/{SNAP}"
SOON = 20.0
STALLS: dict[str, float] = {}
"""What was switched → for how many seconds the device was suspended."""


class World(Protocol):
    """A host's device-mapper, its volumes, and what guests and others do to them."""

    devices: DmDevices

    def volume(self, name: str, size_mb: int) -> str: ...  # a new, empty volume; returns its path
    def copy(self, volume: str, other: str) -> None: ...  # all content of one volume into another
    def extend(self, volume: str, size_mb: int) -> None: ...  # make a volume larger

    def write(self, path: str, chunk: int, text: str) -> None:
        """Write a chunk of 8 KiB. OSError when the device does not take it."""

    def read_chunk(self, path: str, chunk: int) -> str:
        """What a chunk holds; nothing when it was never written."""

    def finish_merge(self, name: str) -> None: ...  # wait for it

    def invalidate(self, name: str, cow: str) -> None:
        """Bring it about that the kernel holds a snapshot invalid."""

    def open(self, name: str) -> None: ...  # a guest opens the device
    def close(self, name: str) -> None: ...  # the guest ends
    def make_foreign(self, name: str, table: Linear) -> None: ...  # a device of another origin
    def leave_empty(self, name: str) -> None: ...  # a device without a table, as after a killed process

    def leave_loaded(self, name: str, loaded: Table) -> None:
        """A device with an inactive table only, as after a killed process."""

    def leave_suspended(self, name: str, loaded: Table) -> None:
        """A suspended device with an inactive table, as after a killed process."""

    def make_restless(self, name: str, below: str) -> None:
        """I/O on the device that does not complete until `calm`; `below` is the device below its linear table."""

    def calm(self) -> None: ...  # they end
    def end(self) -> None: ...  # leave nothing behind


class FakeWorld:
    def __init__(self) -> None:
        self.fake = FakeKernel()
        self.devices = DmDevices(self.fake.open)
        self.write = self.fake.write
        self.read_chunk = self.fake.read_chunk

    def volume(self, name: str, size_mb: int) -> str:
        path = f"/dev/zvol/{POOL}/{PREFIX}{name}"
        self.fake.blocks.add(path, size_mb * SECTORS_PER_MB)
        return path

    def copy(self, volume: str, other: str) -> None:
        contents, node = self.fake.blocks.contents, self.fake.blocks.node
        contents[node(other)] = dict(contents[node(volume)])

    def extend(self, volume: str, size_mb: int) -> None:
        self.fake.blocks.add(volume, size_mb * SECTORS_PER_MB)

    def finish_merge(self, name: str) -> None:
        self.fake.merge(name)

    def invalidate(self, name: str, cow: str) -> None:
        self.fake.invalidate(name)

    def open(self, name: str) -> None:
        self.fake.devices[name].holders += 1

    def close(self, name: str) -> None:
        self.fake.devices[name].holders -= 1

    def make_foreign(self, name: str, table: Linear) -> None:
        self.devices.ensure(name, table)
        self.fake.devices[name].uuid = "LVM-other"

    def leave_empty(self, name: str) -> None:
        self.fake.add(name, UUID_PREFIX + name)

    def leave_loaded(self, name: str, loaded: Table) -> None:
        self.leave_empty(name)
        self.fake.load(name, loaded)

    def leave_suspended(self, name: str, loaded: Table) -> None:
        self.fake.load(name, loaded)
        self.fake.devices[name].is_suspended = True

    def make_restless(self, name: str, below: str) -> None:
        self.fake.restless.add(name)

    def calm(self) -> None:
        self.fake.restless.clear()

    def end(self) -> None:
        """Nothing is left of it anyway."""


def recorded(what: str, switched: Switched) -> bool:
    """Whether the table was switched; the stall, which `make bench` measures, is recorded for the output."""
    STALLS[what] = switched.stall_seconds
    return switched.changed and switched.stall_seconds > 0


def overlay(world: World, cow_mb: int = 4) -> tuple[Linear, Linear, Snapshot, str]:
    """A guest's disk on its way: linear tables on the remote and the local volume, its own table, and its COW."""
    remote = Linear(SECTORS, world.volume("remote", 8))
    local = Linear(SECTORS, world.volume("local", 8))
    cow = world.volume("cow", cow_mb)
    snapshot = Snapshot(SECTORS, ORIGIN_PATH, cow)
    world.write(remote.device, 0, "zero of the image")
    world.write(remote.device, 5, "five of the image")
    world.devices.ensure(ORIGIN, remote)
    world.devices.ensure(SNAP, snapshot)
    return remote, local, snapshot, cow


def merge_of(snapshot: Snapshot) -> SnapshotMerge:
    return SnapshotMerge(snapshot.length_sectors, snapshot.origin, snapshot.cow)
