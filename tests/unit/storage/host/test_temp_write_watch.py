"""A temp-write volume that fills: more is reserved in time; the guest is paused before it is full, then goes on."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from rocks.core.errors import HostError
from rocks.storage.device_mapper.dm_devices import DmDevices
from rocks.storage.device_mapper.tables import ErrorTable, Linear, Snapshot, SnapshotMerge, SnapshotStatus
from rocks.storage.host.devices import PAUSED, device_rows
from rocks.storage.host.temp_write_watch import TempWriteWatch
from rocks.storage.image.image import HostImage, Stage
from rocks.storage.store.host import CopyRecord, HostStore
from tests.fakes.device_mapper import FakeKernel
from tests.fakes.iscsi import FakeSessions, FakeTargets
from tests.fakes.libvirt import FakeDomains
from tests.fakes.zfs import FakePools

GIB = 2**30
ZVOL, COW, ORIGIN = "a-vol", "tank/a-vol-temp-write", "/dev/origin"
SECTORS = 8 * GIB // 512


class Host:
    """One image under a temp-write volume, with its guest."""

    def __init__(self, folder: Path) -> None:
        self.pools = FakePools({"tank": 20 * GIB})
        self.pools.ensure_volume(COW, 8 * GIB, 8192, GIB)
        self.kernel = FakeKernel(lambda path: SECTORS if path.startswith("/dev/") else None)
        self.dm_devices = DmDevices(self.kernel.open)
        self.dm_devices.ensure("a-vol-origin", Linear(SECTORS, ORIGIN))
        self.dm_devices.ensure(
            "a-vol-snap", Snapshot(SECTORS, "/dev/mapper/a-vol-origin", f"/dev/zvol/{COW}")
        )
        self.domains = FakeDomains()
        self.domains.define("<domain><name>a</name><memory>1</memory></domain>")
        self.domains.start_paused("a")
        self.domains.resume("a")
        self.store = HostStore(folder / "host.db")
        self.store.keep(CopyRecord("id", HostImage(ZVOL, "tank", stage="overlay"), {}))

    def watch(self) -> TempWriteWatch:
        """As after a restart of the daemon."""
        return TempWriteWatch(self.store, self.pools, self.dm_devices, lambda: nullcontext(self.domains))

    def look(self) -> str:
        """Have a daemon that has just started look once; returns the guest's state."""
        self.watch().look()
        return self.guest

    def fill(self, used_bytes: int) -> None:
        self.kernel.devices["a-vol-snap"].set_status = SnapshotStatus(used_bytes // 512, SECTORS, 16, "ok")

    def fill_pool(self) -> None:
        """Nothing is free, and nothing is reserved for the guest's writes."""
        self.pools.fake.pool_of(COW).volumes[COW].reserved_bytes = 0
        self.pools.leave_free("tank", 0)

    @property
    def guest(self) -> str:
        fact = self.domains.find("a")
        return fact.state


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host with 20 GiB, of which one is reserved."""
    return Host(tmp_path)


def test_more_is_reserved_before_it_is_needed(host: Host) -> None:
    """Nothing while there is free space; then half as much again as is used."""
    watch = host.watch()
    host.fill(GIB // 4)
    watch.look()
    assert host.pools.read_volume(COW).reserved_bytes == GIB
    host.pools.leave_free("tank", 2 * GIB // 5)
    host.fill(GIB)
    watch.look()
    assert host.pools.read_volume(COW).reserved_bytes > GIB
    assert host.guest == "running"


def test_guest_is_paused_before_the_volume_is_full_and_goes_on_after_a_restart(host: Host) -> None:
    """The pool is full: paused once. With free space again it goes on, though the daemon was restarted meanwhile."""
    host.pools.leave_free("tank", GIB // 100)
    host.fill(GIB - GIB // 100)
    assert host.look() == "paused"
    assert host.look() == "paused"
    host.pools.leave_free("tank", 10 * GIB)
    assert host.look() == "running"


def test_guest_that_writes_all_of_its_disk_goes_on(host: Host) -> None:
    """The pool has free space for all of the temp-write volume, which is larger than the image: it cannot be full."""
    watch = host.watch()
    host.pools.leave_free("tank", 18 * GIB)
    for used_mb in (6500, 7500, 8100):
        host.fill(used_mb * 2**20)
        watch.look()
        assert host.guest == "running"
    fact = host.pools.read_volume(COW)
    assert fact is not None and fact.reserved_bytes == fact.size_bytes


@pytest.mark.parametrize("state", ["overflow", "invalid"])
def test_guest_is_paused_when_device_mapper_has_given_up(host: Host, state: str) -> None:
    """Somebody else has filled the pool between two looks: its writes fail, and it shall not see that."""
    host.fill_pool()
    host.kernel.devices["a-vol-snap"].set_status = SnapshotStatus(GIB // 512, SECTORS, 16, state)  # type: ignore[arg-type] # of the two words
    assert host.look() == "paused"
    assert device_rows(host.store, host.dm_devices, FakeSessions(FakeTargets(""), "i"))[ZVOL].note == PAUSED


@pytest.mark.parametrize(("stage", "state"), [("linear", "running"), ("merging", "paused")])
def test_paused_guest_goes_on_when_its_image_is_local(host: Host, stage: Stage, state: str) -> None:
    """Then no temp-write volume can fill. Until the merge has begun, writes still come into it."""
    host.pools.leave_free("tank", 0)
    host.fill(GIB)
    assert host.look() == "paused"
    host.store.keep(CopyRecord("id", HostImage(ZVOL, "tank", stage=stage), {}))
    assert host.look() == state


def test_guest_that_an_operator_resumes_is_paused_again(host: Host) -> None:
    """By a person, or because the daemon ended between its record and the pause: there is still no free space."""
    host.pools.leave_free("tank", 0)
    host.fill(GIB)
    host.watch().look()
    host.domains.resume("a")
    assert host.look() == "paused"


def test_guest_goes_on_when_its_merge_does(host: Host) -> None:
    """A merge that has stopped fails the guest's writes; nothing new comes into a temp-write volume by then."""
    mapping = host.kernel.devices["a-vol-snap"]
    host.store.keep(CopyRecord("id", HostImage(ZVOL, "tank", stage="merging"), {}))
    snapshot = mapping.table
    assert isinstance(snapshot, Snapshot)
    merge = SnapshotMerge(SECTORS, "/dev/mapper/a-vol-origin", f"/dev/zvol/{COW}")
    host.dm_devices.switch("a-vol-snap", merge, snapshot)
    mapping = host.kernel.devices["a-vol-snap"]
    mapping.set_status = SnapshotStatus(GIB // 512, SECTORS, 16, "merge_failed")
    assert host.look() == "paused"
    host.pools.leave_free("tank", 0)
    mapping.set_status = SnapshotStatus(GIB // 512, SECTORS, 16, "ok")
    assert host.look() == "running"


@pytest.mark.parametrize("stage", ["overlay", "linear"])
def test_guest_that_a_person_has_paused_stays_so(host: Host, stage: Stage) -> None:
    """Whatever its pool does: it is not ours to let go."""
    host.store.keep(CopyRecord("id", HostImage(ZVOL, "tank", stage=stage), {}))
    host.domains.suspend("a")
    host.pools.leave_free("tank", 0)
    host.fill(GIB)
    host.watch().look()
    host.pools.leave_free("tank", 10 * GIB)
    assert host.look() == "paused"


@pytest.mark.parametrize("state", ["overflow", "invalid"])
def test_a_full_temp_write_volume_is_activated_again_and_its_guest_goes_on(host: Host, state: str) -> None:
    """QEMU has stopped the guest at the write that failed; with space the snapshot takes writes, and it is repeated."""
    host.fill_pool()
    host.kernel.devices["a-vol-snap"].state = state  # type: ignore[assignment] # of the two words
    host.domains.fail_disk("a")
    assert host.look() == "paused", "there is no space"
    assert host.dm_devices.read("a-vol-snap").status.state == state  # type: ignore[union-attr] # it is there
    host.pools.leave_free("tank", 10 * GIB)
    host.watch().look()
    assert host.dm_devices.read("a-vol-snap").status.state == "ok"  # type: ignore[union-attr]
    assert host.guest == "running"


def test_an_activation_that_was_cut_is_completed(host: Host) -> None:
    """The daemon ended while the device had the error target."""
    host.domains.suspend("a")
    host.store.set_paused(ZVOL)
    host.kernel.devices["a-vol-snap"].table = ErrorTable(SECTORS)
    host.watch().look()
    found = host.dm_devices.read("a-vol-snap")
    assert found is not None and isinstance(found.table, Snapshot)
    assert host.guest == "running"


def test_a_device_that_others_have_open_is_not_activated_again(host: Host) -> None:
    """Its I/O would fail for a moment, and no guest of it is paused."""
    host.domains.destroy("a")
    device = host.kernel.devices["a-vol-snap"]
    device.state, device.holders = "overflow", 1
    host.watch().look()
    assert host.dm_devices.read("a-vol-snap").status.state == "overflow"  # type: ignore[union-attr]
    device.holders = 0
    host.watch().look()
    assert host.dm_devices.read("a-vol-snap").status.state == "ok"  # type: ignore[union-attr]


def test_why_a_volume_cannot_be_watched_is_logged_once(
    host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A pool that does not answer is asked every two seconds."""

    def hang(volume: str) -> None:
        raise HostError("the pool tank has not answered")

    watch, read = host.watch(), host.pools.read_volume
    for _ in range(2):
        monkeypatch.setattr(host.pools, "read_volume", hang)
        watch.look()
        watch.look()
        monkeypatch.setattr(host.pools, "read_volume", read)
        watch.look()
    line = "the temp-write volume of a-vol cannot be watched: the pool tank has not answered"
    assert [record.getMessage() for record in caplog.records] == [line, line]


def test_pool_is_watched_when_the_image_is_local(host: Host) -> None:
    """QEMU stops the guest at a write that fails; it goes on when there is space, also after a restart."""
    host.store.keep(CopyRecord("id", HostImage(ZVOL, "tank", stage="linear"), {}))
    host.pools.leave_free("tank", GIB // 100)
    assert host.look() == "running", "a guest that does not write goes on"
    host.domains.fail_disk("a")
    assert host.look() == "paused"
    rows = device_rows(host.store, host.dm_devices, FakeSessions(FakeTargets(""), "i"))
    assert rows[ZVOL].note == PAUSED
    host.pools.leave_free("tank", 10 * GIB)
    assert host.look() == "running"


def test_guest_of_an_image_that_is_not_copied_goes_on(host: Host) -> None:
    """The NAS's pool was full: the write is tried again."""
    host.store.keep(CopyRecord("id", HostImage(ZVOL, None, stage="remote"), {}))
    host.domains.fail_disk("a")
    assert host.look() == "running"
