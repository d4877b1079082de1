"""A guest's disk becomes local: the order of the tables, and writes before, between and during the merge."""

from rocks.core.clock import Deadline
from rocks.storage.device_mapper.tables import Switched
from tests.contract.storage.device_mapper.dm_world import (
    ORIGIN,
    SNAP,
    SNAP_PATH,
    SOON,
    World,
    merge_of,
    overlay,
    recorded,
)


def test_from_the_nas_to_local_under_a_guest(world: World) -> None:
    """The whole way: origin moved below the snapshot, merge, linear; each step again is nothing; nothing is lost."""
    remote, local, snapshot, _ = overlay(world)
    world.copy(remote.device, local.device)
    world.open(SNAP)
    world.write(SNAP_PATH, 1, "before")
    assert recorded("A, origin to local", world.devices.switch(ORIGIN, local, remote))
    assert world.devices.switch(ORIGIN, local, remote) == Switched(False, 0.0)
    world.write(SNAP_PATH, 2, "between")
    assert recorded("B, merge begins", world.devices.switch(SNAP, merge_of(snapshot), snapshot))
    assert world.devices.switch(SNAP, merge_of(snapshot), snapshot) == Switched(False, 0.0)
    world.write(SNAP_PATH, 3, "while merging")
    world.finish_merge(SNAP)
    assert recorded("C, local alone", world.devices.switch(SNAP, local, merge_of(snapshot)))
    assert world.devices.is_live(SNAP, local)
    world.write(SNAP_PATH, 4, "after")
    written = {0: "zero of the image", 1: "before", 2: "between", 3: "while merging", 4: "after"}
    for device in (SNAP_PATH, local.device):
        assert {chunk: world.read_chunk(device, chunk) for chunk in written} == written
    assert world.read_chunk(remote.device, 1) == ""
    assert world.devices.ensure_gone(ORIGIN, Deadline(SOON)).changed
    world.close(SNAP)


def test_what_a_guest_writes_during_a_merge_is_in_the_origin(world: World) -> None:
    """More than the COW has space for, and at once; of a chunk that the COW has, the newest content is left."""
    remote, local, snapshot, _ = overlay(world, cow_mb=1)
    world.copy(remote.device, local.device)
    in_cow = {chunk: f"before {chunk}" for chunk in range(100)}
    newer = {chunk: f"during {chunk}" for chunk in range(90, 300)}
    for chunk, text in in_cow.items():
        world.write(SNAP_PATH, chunk, text)
    used_sectors = world.devices.read(SNAP).status.allocated_sectors
    world.devices.switch(ORIGIN, local, remote)
    world.devices.switch(SNAP, merge_of(snapshot), snapshot)
    for chunk, text in newer.items():
        world.write(SNAP_PATH, chunk, text)
    for chunk in newer.keys() - in_cow.keys():
        assert world.read_chunk(local.device, chunk) == world.read_chunk(SNAP_PATH, chunk) == newer[chunk]
    status = world.devices.read(SNAP).status
    assert status.state == "ok" and status.allocated_sectors <= used_sectors
    world.finish_merge(SNAP)
    written = in_cow | newer
    assert {chunk: world.read_chunk(local.device, chunk) for chunk in written} == written
    assert world.read_chunk(remote.device, max(newer)) == ""


def test_a_merge_goes_on_after_a_restart(world: World) -> None:
    """Made anew as a merge, over what it had merged already, and what was written meanwhile."""
    remote, local, snapshot, _ = overlay(world)
    world.write(SNAP_PATH, 1, "before")
    world.copy(remote.device, local.device)
    world.devices.switch(ORIGIN, local, remote)
    world.devices.switch(SNAP, merge_of(snapshot), snapshot)
    world.write(SNAP_PATH, 2, "during")
    world.devices.ensure_gone(SNAP, Deadline(SOON))
    assert world.devices.ensure(SNAP, merge_of(snapshot)).changed
    world.finish_merge(SNAP)
    assert [world.read_chunk(local.device, chunk) for chunk in (1, 2)] == ["before", "during"]


def test_a_switch_goes_on_where_a_crash_ended_it(world: World) -> None:
    """A device that was left suspended before its switch is switched; one that has its table only goes on."""
    remote, local, snapshot, _ = overlay(world)
    world.write(SNAP_PATH, 1, "before")
    world.copy(remote.device, local.device)
    world.leave_suspended(ORIGIN, local)
    assert world.devices.switch(ORIGIN, local, remote).changed
    world.leave_suspended(SNAP, merge_of(snapshot))
    assert world.devices.switch(SNAP, merge_of(snapshot), snapshot).changed
    world.finish_merge(SNAP)
    assert world.read_chunk(local.device, 1) == "before"
    world.leave_suspended(SNAP, local)
    assert world.devices.ensure(SNAP, merge_of(snapshot)).changed
