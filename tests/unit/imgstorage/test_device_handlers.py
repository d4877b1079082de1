"""A merge that the kernel has given up: tried again below a new table, as soon as its pool has free space."""

from __future__ import annotations

import pytest

from rocks.devices.device_mapper.fake.dm_devices import FakeDmDevices
from rocks.devices.device_mapper.tables import Linear, Snapshot, SnapshotMerge
from rocks.devices.iscsi_initiator.fake import FakeSessions
from rocks.devices.iscsi_target.fake import FakeTargets
from rocks.devices.zfs.fake.pools import FakePools
from rocks.errors import BusyError
from rocks.imgstorage.host.access import Access
from rocks.imgstorage.host.device_handlers import DeviceHandlers
from rocks.imgstorage.host.effects import EnsureMergeDevice, WaitMerged
from rocks.imgstorage.life.host_image import HostImage

GIB = 2**30
SECTORS = GIB // 512
ZVOL, SNAP, COW = "a-vol", "a-vol-snap", "/dev/zvol/tank/a-vol-temp-write"


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
