"""What a host does with devices that the kernel, or a daemon that died, has left in another state."""

import pytest

from rocks.core.errors import BusyError
from rocks.storage.device_mapper.fake.dm_devices import FakeDmDevices
from rocks.storage.device_mapper.rules import UUID_PREFIX
from rocks.storage.device_mapper.tables import Linear, Placeholder, Snapshot, SnapshotMerge, Table
from rocks.storage.host.access import Access
from rocks.storage.host.device_handlers import DeviceHandlers
from rocks.storage.host.effects import (
    EnsureDeviceGone,
    EnsureLinearDevice,
    EnsureLocalOrigin,
    EnsureMergeDevice,
    EnsureOverlayDevice,
    EnsureRemoteOrigin,
    HostEffect,
    WaitMerged,
)
from rocks.storage.iscsi_initiator.driver import LOGGED_IN, SessionFact
from rocks.storage.iscsi_initiator.fake import FakeSessions
from rocks.storage.iscsi_target.fake import FakeTargets
from rocks.storage.life.host_image import HostImage
from rocks.storage.zfs.fake.pools import FakePools

GIB = 2**30
SECTORS = GIB // 512
ZVOL, SNAP, COW = "a-vol", "a-vol-snap", "/dev/zvol/tank/a-vol-temp-write"
ORIGIN, LOCAL = "a-vol-origin", "/dev/zvol/tank/a-vol"
TARGET, DISK = "iqn.2024-01.org.rocks:a-vol", "/dev/disk/by-path/a-vol"


class _Sessions(FakeSessions):
    """One session, with its disk."""

    def read_sessions(self) -> tuple[SessionFact, ...]:
        return (SessionFact(TARGET, "10.0.0.1", 3260, LOGGED_IN, DISK, "sda", "a-vol", GIB, False),)


def test_merge_that_has_stopped_is_tried_again_when_there_is_free_space() -> None:
    """Before that it is waited for, as a busy machine is: the image is not held."""
    pools = FakePools({"tank": 20 * GIB})
    pools.ensure_volume("tank/a-vol", GIB, 16384)
    pools.ensure_volume("tank/a-vol-temp-write", GIB, 8192, GIB // 4)
    dm_devices = FakeDmDevices(lambda path: SECTORS if path.startswith("/dev/") else None)
    dm_devices.ensure("a-vol-origin", Linear(SECTORS, "/dev/zvol/tank/a-vol"))
    snapshot = Snapshot(SECTORS, "/dev/mapper/a-vol-origin", COW)
    dm_devices.ensure(SNAP, snapshot)
    live = dm_devices.read(SNAP)
    assert live is not None and isinstance(live.table, Snapshot)
    dm_devices.switch(SNAP, SnapshotMerge(SECTORS, "/dev/mapper/a-vol-origin", COW), live.table)
    dm_devices.devices[SNAP].state = "merge_failed"
    handlers = DeviceHandlers(pools, FakeSessions(FakeTargets(""), "i"), dm_devices).handlers
    known = HostImage(ZVOL, "tank", stage="merging", size_bytes=GIB)
    access = Access("id", 1, known, "nas", "tank/a-vol", "10.0.0.1", 3260, 7443, None)

    def merge() -> None:
        handlers[EnsureMergeDevice](EnsureMergeDevice(ZVOL, "tank"), access)
        handlers[WaitMerged](WaitMerged(ZVOL), access)

    pools.leave_free("tank", GIB // 1000)
    with pytest.raises(BusyError, match="free space there, then the merge continues"):
        merge()
    pools.leave_free("tank", GIB)
    merge()
    with pytest.raises(BusyError, match="has stopped: the kernel reports merge failed; it is tried again"):
        dm_devices.devices[SNAP].state = "merge_failed"
        handlers[WaitMerged](WaitMerged(ZVOL), access)


@pytest.mark.parametrize("is_loaded", [False, True], ids=["created", "loaded"])
@pytest.mark.parametrize(
    ("effect", "name", "table"),
    [
        (EnsureRemoteOrigin(ZVOL, TARGET), ORIGIN, Linear(SECTORS, DISK)),
        (EnsureLocalOrigin(ZVOL, "tank"), ORIGIN, Linear(SECTORS, LOCAL)),
        (EnsureOverlayDevice(ZVOL, "tank"), SNAP, Snapshot(SECTORS, f"/dev/mapper/{ORIGIN}", COW)),
        (EnsureMergeDevice(ZVOL, "tank"), SNAP, SnapshotMerge(SECTORS, f"/dev/mapper/{ORIGIN}", COW)),
        (EnsureLinearDevice(ZVOL, "tank"), SNAP, Linear(SECTORS, LOCAL)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_device_that_a_crash_left_without_a_table_gets_it_when_the_step_is_repeated(
    effect: HostEffect, name: str, table: Table, is_loaded: bool
) -> None:
    """The daemon or the host died between the creation of the device and the activation of its table."""
    pools = FakePools({"tank": 20 * GIB})
    pools.ensure_volume("tank/a-vol", GIB, 16384)
    pools.ensure_volume("tank/a-vol-temp-write", GIB, 8192, GIB // 4)
    dm_devices = FakeDmDevices(lambda path: SECTORS if path.startswith("/dev/") else None)
    if name == SNAP:
        dm_devices.ensure(ORIGIN, Linear(SECTORS, LOCAL))
    dm_devices.add(name, UUID_PREFIX + name)
    if is_loaded:
        dm_devices.load(name, Linear(SECTORS, "/dev/zvol/tank/other"))
    handlers = DeviceHandlers(pools, _Sessions(FakeTargets(""), "i"), dm_devices).handlers
    known = HostImage(ZVOL, "tank", stage="mapped", size_bytes=GIB)
    handlers[type(effect)](effect, Access("id", 1, known, "nas", "tank/a-vol", "10.0.0.1", 3260, 7443, None))
    assert dm_devices.is_live(name, table)


@pytest.mark.parametrize(
    ("effect", "table"),
    [
        (EnsureOverlayDevice(ZVOL, "tank"), Snapshot(SECTORS, f"/dev/mapper/{ORIGIN}", COW)),
        (EnsureLinearDevice(ZVOL, "tank"), Linear(SECTORS, LOCAL)),
    ],
    ids=["overlay", "linear"],
)
def test_placeholder_of_an_arriving_guest_gets_the_image(effect: HostEffect, table: Table) -> None:
    """While the guest has it open; a map that is undone before leaves it to the next one."""
    pools = FakePools({"tank": 20 * GIB})
    pools.ensure_volume("tank/a-vol", GIB, 16384)
    pools.ensure_volume("tank/a-vol-temp-write", GIB, 8192, GIB // 4)
    dm_devices = FakeDmDevices(lambda path: SECTORS if path.startswith("/dev/") else None)
    dm_devices.ensure(ORIGIN, Linear(SECTORS, LOCAL))
    dm_devices.ensure(SNAP, Placeholder(SECTORS))
    dm_devices.devices[SNAP].holders = 1
    handlers = DeviceHandlers(pools, FakeSessions(FakeTargets(""), "i"), dm_devices).handlers
    access = Access(
        "id", 1, HostImage(ZVOL, "tank", size_bytes=GIB), "nas", "tank/a-vol", "10.0.0.1", 3260, 7443, None
    )
    handlers[EnsureDeviceGone](EnsureDeviceGone(ZVOL), access)
    left = dm_devices.read(SNAP)
    assert left is not None and left.table == Placeholder(SECTORS)
    handlers[type(effect)](effect, access)
    handlers[type(effect)](effect, access)
    assert dm_devices.is_live(SNAP, table)
    dm_devices.devices[SNAP].table, dm_devices.devices[SNAP].holders = Placeholder(SECTORS), 0
    handlers[EnsureDeviceGone](EnsureDeviceGone(ZVOL), access)
    assert dm_devices.read(SNAP) is None, "nobody waits for it"
