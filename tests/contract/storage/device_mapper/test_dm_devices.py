"""Device-mapper devices, in memory and by the kernel (a lab machine's, over volumes of its own pool)."""

import os

import pytest

from rocks.core.clock import Deadline
from rocks.core.errors import BusyError, IncoherentError, StateError, UserError
from rocks.storage.device_mapper.tables import Linear, Placeholder, Snapshot, SnapshotMerge
from tests.contract.outcomes import changes_once, refused
from tests.contract.storage.device_mapper.dm_real_world import RealWorld
from tests.contract.storage.device_mapper.dm_world import (
    ORIGIN,
    ORIGIN_PATH,
    SECTORS,
    SNAP,
    SNAP_PATH,
    SOON,
    World,
    merge_of,
    overlay,
    recorded,
)


def test_created_and_removed_each_twice(world: World) -> None:
    """The second time nothing changes; what is read is what was asked for."""
    table = Linear(SECTORS, world.volume("a", 8))
    assert world.devices.read(ORIGIN) is None
    assert not world.devices.is_live(ORIGIN, table)
    changes_once(world.devices.ensure, ORIGIN, table)
    assert world.devices.is_live(ORIGIN, table)
    fact = world.devices.read(ORIGIN)
    assert (fact.name, fact.uuid, fact.is_suspended, fact.open_count) == (ORIGIN, f"ROCKS-{ORIGIN}", False, 0)
    assert (fact.loaded_table, fact.status) == (None, None)
    assert isinstance(fact.table, Linear) and fact.table.length_sectors == SECTORS
    assert fact in world.devices.list()
    changes_once(world.devices.ensure_gone, ORIGIN, Deadline(SOON))
    assert world.devices.read(ORIGIN) is None
    assert ORIGIN not in [listed.name for listed in world.devices.list()]


def test_its_path_is_there_when_it_is_made(world: World) -> None:
    """And leads to what it maps; a write through it is a write below."""
    table = Linear(SECTORS, world.volume("a", 8))
    world.devices.ensure(ORIGIN, table)
    world.write(ORIGIN_PATH, 3, "three")
    assert world.read_chunk(table.device, 3) == "three"
    if isinstance(world, RealWorld):
        assert os.path.realpath(ORIGIN_PATH) == world.devices.read(ORIGIN).node
        world.devices.ensure_gone(ORIGIN, Deadline(SOON))
        assert not os.path.lexists(ORIGIN_PATH)


def test_another_table_is_refused(world: World) -> None:
    """A name with another table belongs to something else; nothing is changed."""
    table = Linear(SECTORS, world.volume("a", 8))
    other = Linear(SECTORS, world.volume("b", 8))
    world.devices.ensure(ORIGIN, table)
    with pytest.raises(
        IncoherentError, match=f"{ORIGIN} has another table: {SECTORS} sectors linear .*, not"
    ):
        world.devices.ensure(ORIGIN, other)
    with pytest.raises(IncoherentError, match="has another table"):
        world.devices.ensure(ORIGIN, Linear(SECTORS - 8, table.device))
    assert world.devices.is_live(ORIGIN, table)


def test_devices_of_another_origin_are_not_changed(world: World) -> None:
    """Neither changed nor removed nor listed; `read` returns them."""
    table = Linear(SECTORS, world.volume("a", 8))
    world.make_foreign(ORIGIN, table)
    for attempt in (
        lambda: world.devices.ensure(ORIGIN, table),
        lambda: world.devices.switch(ORIGIN, table, table),
        lambda: world.devices.ensure_resumed(ORIGIN),
        lambda: world.devices.ensure_gone(ORIGIN, Deadline(0)),
    ):
        refused(IncoherentError, "was not created by this system", attempt)
    assert world.devices.read(ORIGIN).uuid == "LVM-other"
    assert ORIGIN not in [listed.name for listed in world.devices.list()]


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("", Linear(8, "/dev/a")),
        ("a/b", Linear(8, "/dev/a")),
        ("a b", Linear(8, "/dev/a")),
        ("..", Linear(8, "/dev/a")),
        ("control", Linear(8, "/dev/a")),
        ("a" * 123, Linear(8, "/dev/a")),
        ("a", Linear(0, "/dev/a")),
        ("a", Linear(8, "a")),
        ("a", Linear(8, "/dev/a b")),
        ("a", Snapshot(8, "/dev/a", "/dev/b\n")),
        ("a", Snapshot(8, "/dev/a", "/dev/b", chunk_sectors=17)),
        ("a", Snapshot(8, "/dev/a", "/dev/b", chunk_sectors=4)),
        ("a", Snapshot(8, "/dev/a", "/dev/b", store="N")),
    ],
)
def test_invalid_names_and_tables(world: World, name: str, table: Linear | Snapshot) -> None:
    """Refused before the kernel is asked anything."""
    refused(UserError, "", world.devices.ensure, name, table)


def test_missing_or_short_devices(world: World) -> None:
    """No device-mapper device is left behind."""
    with pytest.raises(StateError, match="this host has no device /dev/zvol/vmpool/missing"):
        world.devices.ensure(ORIGIN, Linear(SECTORS, "/dev/zvol/vmpool/missing"))
    short = world.volume("short", 4)
    with pytest.raises(StateError, match=f"{short} has 8192 sectors and .* needs {SECTORS} of them"):
        world.devices.ensure(ORIGIN, Linear(SECTORS, short))
    assert world.devices.read(ORIGIN) is None


def test_a_cow_has_one_snapshot(world: World) -> None:
    """The kernel would let two write into it."""
    *_, snapshot, cow = overlay(world)
    other = "contract-dm-b-snap"
    with pytest.raises(IncoherentError, match=f"{cow} is already the COW of /dev/mapper/{SNAP}"):
        world.devices.ensure(other, snapshot)
    assert world.devices.read(other) is None


def test_a_guest_writes_over_an_image(world: World) -> None:
    """What it writes goes into the COW, the image stays as it was, and the usage is reported in sectors."""
    remote, *_ = overlay(world)
    assert world.devices.read(SNAP).status == (32, 8192, 32, "ok")
    world.write(SNAP_PATH, 5, "five of the guest")
    assert world.read_chunk(SNAP_PATH, 0) == "zero of the image"
    assert world.read_chunk(SNAP_PATH, 5) == "five of the guest"
    assert world.read_chunk(remote.device, 5) == "five of the image"
    assert world.devices.read(SNAP).status == (48, 8192, 32, "ok")
    assert world.devices.read(ORIGIN).open_count == 1


def test_the_order_that_loses_writes_is_refused(world: World) -> None:
    """A merge, or a snapshot, over another origin or COW than the running snapshot has; it goes on as it was."""
    _, local, snapshot, cow = overlay(world)
    other_cow = world.volume("cow2", 4)
    world.write(SNAP_PATH, 1, "before")
    for table in (
        SnapshotMerge(SECTORS, local.device, cow),
        Snapshot(SECTORS, local.device, cow),
        SnapshotMerge(SECTORS, ORIGIN_PATH, other_cow),
    ):
        with pytest.raises(
            IncoherentError, match="would lose all writes after it is loaded; switch the linear"
        ):
            world.devices.switch(SNAP, table, snapshot)
    fact = world.devices.read(SNAP)
    assert fact.loaded_table is None and not fact.is_suspended
    assert world.devices.is_live(SNAP, snapshot)
    assert world.read_chunk(SNAP_PATH, 1) == "before"


def test_a_switch_that_would_throw_writes_away_is_refused(world: World) -> None:
    """Snapshot to linear, a merge that has not ended or ends elsewhere, a way back, another length."""
    remote, local, snapshot, _ = overlay(world)
    refused(IncoherentError, "would lose the data in", world.devices.switch, SNAP, local, snapshot)
    shorter = Linear(SECTORS - 8, local.device)
    refused(IncoherentError, "a guest's disk keeps its size", world.devices.switch, ORIGIN, shorter, remote)
    refused(IncoherentError, "cannot go from", world.devices.switch, ORIGIN, snapshot, remote)
    world.copy(remote.device, local.device)
    world.devices.switch(ORIGIN, local, remote)
    world.devices.switch(SNAP, merge_of(snapshot), snapshot)
    refused(IncoherentError, "cannot be reverted", world.devices.switch, SNAP, snapshot, merge_of(snapshot))
    refused(IncoherentError, "is merged into", world.devices.switch, SNAP, remote, merge_of(snapshot))
    assert world.devices.is_live(SNAP, merge_of(snapshot))


def test_another_live_table_than_expected_is_refused(world: World) -> None:
    """Another process has switched it."""
    remote, local, *_ = overlay(world)
    other = Linear(SECTORS, world.volume("other", 8))
    refused(IncoherentError, "has another table", world.devices.switch, ORIGIN, local, other)
    refused(StateError, "create it first", world.devices.switch, "contract-dm-none", local, remote)
    assert world.devices.is_live(ORIGIN, remote)


def test_a_device_that_does_not_suspend(world: World) -> None:
    """The switch is aborted after half a second, the live table stays, and later the same call succeeds."""
    below = Linear(SECTORS, world.volume("below", 8))
    local = Linear(SECTORS, world.volume("local", 8))
    remote = Linear(SECTORS, ORIGIN_PATH)
    world.devices.ensure(ORIGIN, below)
    world.devices.ensure(SNAP, remote)
    world.make_restless(SNAP, ORIGIN)
    with pytest.raises(BusyError, match=r"did not suspend within 0\.5 s and keeps its table"):
        world.devices.switch(SNAP, local, remote)
    fact = world.devices.read(SNAP)
    assert fact.loaded_table is None and not fact.is_suspended
    assert world.devices.is_live(SNAP, remote)
    world.calm()
    assert world.devices.switch(SNAP, local, remote).changed


def test_a_device_that_a_crash_left_suspended(world: World) -> None:
    """It goes on with the table that it had, and what was loaded is forgotten; a second time nothing changes."""
    remote, local, snapshot, _ = overlay(world)
    world.leave_suspended(SNAP, merge_of(snapshot))
    world.leave_suspended(ORIGIN, local)
    found = world.devices.read(ORIGIN)
    assert found.is_suspended and isinstance(found.loaded_table, Linear)
    for name, table in ((ORIGIN, remote), (SNAP, snapshot)):
        changes_once(world.devices.ensure_resumed, name)
        assert world.devices.is_live(name, table)
    world.write(SNAP_PATH, 1, "after")
    assert world.read_chunk(SNAP_PATH, 1) == "after"


def test_a_device_that_a_crash_left_without_a_table(world: World) -> None:
    """It gets it, or goes."""
    table = Linear(SECTORS, world.volume("a", 8))
    world.leave_empty(ORIGIN)
    refused(StateError, "has no table to resume", world.devices.ensure_resumed, ORIGIN)
    assert world.devices.ensure(ORIGIN, table).changed
    assert world.devices.is_live(ORIGIN, table)
    world.leave_empty(SNAP)
    assert world.devices.ensure_gone(SNAP, Deadline(SOON)).changed


def test_a_crash_between_a_table_and_its_activation(world: World) -> None:
    """The device gets the requested table, though the inactive one is another; until then nothing resumes it."""
    table = Linear(SECTORS, world.volume("a", 8))
    world.leave_loaded(ORIGIN, Linear(SECTORS, world.volume("b", 8)))
    fact = world.devices.read(ORIGIN)
    assert fact.table is None and fact.loaded_table is not None
    refused(StateError, "has no table to resume", world.devices.ensure_resumed, ORIGIN)
    assert world.devices.ensure(ORIGIN, table).changed
    assert world.devices.is_live(ORIGIN, table)
    assert world.devices.read(ORIGIN).loaded_table is None


def test_a_recreated_device_has_its_data(world: World) -> None:
    """After a restart of the host the COW is what is left of the guest's writes."""
    *_, snapshot, _ = overlay(world)
    world.write(SNAP_PATH, 1, "before")
    world.devices.ensure_gone(SNAP, Deadline(SOON))
    world.devices.ensure(SNAP, snapshot)
    assert world.read_chunk(SNAP_PATH, 1) == "before"


def test_a_cow_that_has_grown_is_used_whole(world: World) -> None:
    """Before it is full."""
    *_, cow = overlay(world, cow_mb=1)
    world.write(SNAP_PATH, 1, "before")
    world.extend(cow, 4)
    assert world.devices.ensure_extended(SNAP).changed
    status = world.devices.read(SNAP).status
    assert (status.total_sectors, status.state) == (8192, "ok")
    for chunk in range(200):
        world.write(SNAP_PATH, chunk, f"chunk {chunk}")
    assert world.read_chunk(SNAP_PATH, 199) == "chunk 199"
    refused(StateError, "is not a snapshot", world.devices.ensure_extended, ORIGIN)


def activate(world: World) -> int:
    """Write until the snapshot takes no more; returns how many chunks it took."""
    for chunk in range(SECTORS // 16):
        try:
            world.write(SNAP_PATH, chunk, f"chunk {chunk}")
        except OSError:
            return chunk
    raise AssertionError("it never was full")


def test_a_full_cow_keeps_its_data_and_is_reactivated(world: World) -> None:
    """It overflows and is not invalid; extended and re-activated below its open user, it takes writes again."""
    *_, snapshot, cow = overlay(world, cow_mb=1)
    taken = activate(world)
    status = world.devices.read(SNAP).status
    assert status.state == "overflow"
    assert world.read_chunk(SNAP_PATH, taken - 1) == f"chunk {taken - 1}"
    world.open(SNAP)
    world.extend(cow, 4)
    with pytest.raises(StateError, match="is in state overflow: pause its user and reactivate it"):
        world.devices.ensure_extended(SNAP)
    changes_once(world.devices.ensure_reactivated, SNAP, snapshot)
    world.write(SNAP_PATH, taken, "more")
    assert world.read_chunk(SNAP_PATH, taken) == "more"
    for chunk in range(taken):
        assert world.read_chunk(SNAP_PATH, chunk) == f"chunk {chunk}"
    world.close(SNAP)


def test_an_invalid_snapshot_is_reactivated(world: World) -> None:
    """All that was written is there again."""
    *_, snapshot, cow = overlay(world)
    world.write(SNAP_PATH, 1, "before")
    world.invalidate(SNAP, cow)
    assert world.devices.read(SNAP).status.state == "invalid"
    refused(OSError, "", world.read_chunk, SNAP_PATH, 1)
    assert world.devices.ensure_reactivated(SNAP, snapshot).changed
    assert world.read_chunk(SNAP_PATH, 1) == "before"
    assert world.read_chunk(SNAP_PATH, 5) == "five of the image"


def test_only_a_snapshot_is_reactivated(world: World) -> None:
    """And only with its own table."""
    remote, local, _, cow = overlay(world)
    with pytest.raises(StateError, match="only a snapshot can be reactivated"):
        world.devices.ensure_reactivated(ORIGIN, remote)
    with pytest.raises(IncoherentError, match="has another table"):
        world.devices.ensure_reactivated(SNAP, Snapshot(SECTORS, local.device, cow))


def test_what_is_open_is_not_removed(world: World) -> None:
    """By a guest, or by a device above it."""
    overlay(world)
    world.open(SNAP)
    refused(StateError, rf"{SNAP} is still open \(1 times\)", world.devices.ensure_gone, SNAP, Deadline(0.3))
    refused(StateError, "is still open", world.devices.ensure_gone, ORIGIN, Deadline(0))
    world.close(SNAP)
    assert world.devices.ensure_gone(SNAP, Deadline(SOON)).changed
    assert world.devices.ensure_gone(ORIGIN, Deadline(SOON)).changed


@pytest.mark.parametrize("kind", ["snapshot", "linear"])
def test_a_placeholder_fails_all_io_until_its_content_is_there(world: World, kind: str) -> None:
    """Its user has it open meanwhile; what was refused before is not there afterwards."""
    volume = world.volume("a", 8)
    world.write(volume, 5, "five")
    changes_once(world.devices.ensure, SNAP, Placeholder(SECTORS))
    world.open(SNAP)
    refused(OSError, "Input/output error", world.write, SNAP_PATH, 5, "lost")
    refused(OSError, "Input/output error", world.read_chunk, SNAP_PATH, 0)
    table: Linear | Snapshot = Linear(SECTORS, volume)
    if kind == "snapshot":
        world.devices.ensure(ORIGIN, table)
        table = Snapshot(SECTORS, ORIGIN_PATH, world.volume("cow", 4))
    refused(IncoherentError, "has another table", world.devices.ensure, SNAP, table)
    assert recorded(f"placeholder to {kind}", world.devices.switch(SNAP, table, Placeholder(SECTORS)))
    assert world.read_chunk(SNAP_PATH, 5) == "five"
    world.write(SNAP_PATH, 6, "six")
    assert world.read_chunk(SNAP_PATH, 6) == "six"
    refused(IncoherentError, "", world.devices.switch, SNAP, Placeholder(SECTORS), table)
    world.close(SNAP)
