"""What a host does with devices that the kernel, or a daemon that died, has left in another state."""

import pytest

from rocks.core.errors import BusyError
from rocks.storage.device_mapper.dm_devices import DmDevices
from rocks.storage.device_mapper.tables import (
    UUID_PREFIX,
    Linear,
    Placeholder,
    Snapshot,
    SnapshotMerge,
    Table,
)
from rocks.storage.host.devices import DeviceHandlers
from rocks.storage.host.effects import Name
from rocks.storage.host.engine import GrantedImage
from rocks.storage.image.image import HostImage
from rocks.storage.iscsi.initiator import LOGGED_IN, SessionFact
from tests.fakes.device_mapper import FakeKernel
from tests.fakes.iscsi import FakeSessions, FakeTargets
from tests.fakes.zfs import FakePools

GIB = 2**30
SECTORS = GIB // 512
ZVOL, SNAP, COW = "a-vol", "a-vol-snap", "/dev/zvol/tank/a-vol-temp-write"
ORIGIN, LOCAL = "a-vol-origin", "/dev/zvol/tank/a-vol"
TARGET, DISK = "iqn.2024-01.org.rocks:a-vol", "/dev/disk/by-path/a-vol"


class _Sessions(FakeSessions):
    """One session, with its disk."""

    def read_sessions(self) -> tuple[SessionFact, ...]:
        return (SessionFact(TARGET, "10.0.0.1", 3260, LOGGED_IN, DISK, "sda", "a-vol", GIB, False),)


class Host:
    """A host with the volumes of one image, and no devices."""

    def __init__(self) -> None:
        self.pools = FakePools({"tank": 20 * GIB})
        self.pools.ensure_volume("tank/a-vol", GIB, 16384)
        self.pools.ensure_volume("tank/a-vol-temp-write", GIB, 8192, GIB // 4)
        self.kernel = FakeKernel(lambda path: SECTORS if path.startswith("/dev/") else None)
        self.dm_devices = DmDevices(self.kernel.open)
        sessions = _Sessions(FakeTargets(""), "i")
        self._handlers = DeviceHandlers(self.pools, sessions, self.dm_devices).handlers

    def do(self, *effects: Name) -> None:
        known = HostImage(ZVOL, "tank", target=TARGET, size_bytes=GIB)
        image = GrantedImage("id", 1, known, "nas", "tank/a-vol", "10.0.0.1", 3260, 7443, None)
        for effect in effects:
            self._handlers[effect](None, image)


def test_merge_that_has_stopped_is_tried_again_when_there_is_free_space() -> None:
    """Before that it is waited for, as a busy machine is: the image is not held."""
    host = Host()
    host.dm_devices.ensure(ORIGIN, Linear(SECTORS, LOCAL))
    snapshot = Snapshot(SECTORS, f"/dev/mapper/{ORIGIN}", COW)
    host.dm_devices.ensure(SNAP, snapshot)
    host.dm_devices.switch(SNAP, SnapshotMerge(SECTORS, f"/dev/mapper/{ORIGIN}", COW), snapshot)
    host.kernel.devices[SNAP].state = "merge_failed"
    merge = "EnsureMergeDevice", "WaitMerged"
    host.pools.leave_free("tank", GIB // 1000)
    with pytest.raises(BusyError, match="free space there, then the merge continues"):
        host.do(*merge)
    host.pools.leave_free("tank", GIB)
    host.do(*merge)
    with pytest.raises(BusyError, match="has stopped: the kernel reports merge failed; it is tried again"):
        host.kernel.devices[SNAP].state = "merge_failed"
        host.do("WaitMerged")


@pytest.mark.parametrize("is_loaded", [False, True], ids=["created", "loaded"])
@pytest.mark.parametrize(
    ("effect", "name", "table"),
    [
        ("EnsureRemoteOrigin", ORIGIN, Linear(SECTORS, DISK)),
        ("EnsureLocalOrigin", ORIGIN, Linear(SECTORS, LOCAL)),
        ("EnsureOverlayDevice", SNAP, Snapshot(SECTORS, f"/dev/mapper/{ORIGIN}", COW)),
        ("EnsureMergeDevice", SNAP, SnapshotMerge(SECTORS, f"/dev/mapper/{ORIGIN}", COW)),
        ("EnsureLinearDevice", SNAP, Linear(SECTORS, LOCAL)),
    ],
)
def test_a_device_that_a_crash_left_without_a_table_gets_it_when_the_step_is_repeated(
    effect: Name, name: str, table: Table, is_loaded: bool
) -> None:
    """The daemon or the host died between the creation of the device and the activation of its table."""
    host = Host()
    if name == SNAP:
        host.dm_devices.ensure(ORIGIN, Linear(SECTORS, LOCAL))
    host.kernel.add(name, UUID_PREFIX + name)
    if is_loaded:
        host.kernel.load(name, Linear(SECTORS, "/dev/zvol/tank/other"))
    host.do(effect)
    assert host.dm_devices.is_live(name, table)


@pytest.mark.parametrize(
    ("effect", "table"),
    [
        ("EnsureOverlayDevice", Snapshot(SECTORS, f"/dev/mapper/{ORIGIN}", COW)),
        ("EnsureLinearDevice", Linear(SECTORS, LOCAL)),
    ],
    ids=["overlay", "linear"],
)
def test_placeholder_of_an_arriving_guest_gets_the_image(effect: Name, table: Table) -> None:
    """While the guest has it open; a map that is undone before leaves it to the next one."""
    host = Host()
    host.dm_devices.ensure(ORIGIN, Linear(SECTORS, LOCAL))
    host.dm_devices.ensure(SNAP, Placeholder(SECTORS))
    host.kernel.devices[SNAP].holders = 1
    host.do("EnsureDeviceGone")
    left = host.dm_devices.read(SNAP)
    assert left is not None and left.table == Placeholder(SECTORS)
    host.do(effect, effect)
    assert host.dm_devices.is_live(SNAP, table)
    host.kernel.devices[SNAP].table, host.kernel.devices[SNAP].holders = Placeholder(SECTORS), 0
    host.do("EnsureDeviceGone")
    assert host.dm_devices.read(SNAP) is None, "nobody waits for it"
