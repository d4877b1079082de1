"""Which files of a machine move to another host, where they will be, and what prevents it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rocks.core.errors import HostError, StateError
from rocks.fleet.wire.live_moves import moving_path
from rocks.fleet.wire.requests import ImageFact
from rocks.inventory.records import Lease
from rocks.machine.move import (
    FileMove,
    check_is_off,
    check_live,
    check_no_snapshots,
    check_source,
    check_target,
    check_target_space,
    left_paths,
    plan_move,
)
from tests.unit.machines import container, machine

UUID = "11111111-1111-4111-8111-111111111111"
FILE = "file:/images/a/web.vda,vda,virtio"
VM = machine(disks=[FILE], uuid=UUID)
TARGET = container("vmc-0-1")
OTHER_FOLDER = container("vmc-0-1", vm_image_directories="", vm_image_directory="/data/vms")
MOVE = FileMove("/images/a/web.vda", "/images", "/images/a/web.vda", "/images")


def fact(path: str, owner: str = UUID, user: str = "") -> dict[str, ImageFact]:
    return {path: ImageFact(path, owner, 10**9, 10**6, False, user)}


def test_a_file_keeps_its_path_where_the_new_host_has_that_directory() -> None:
    plan = plan_move(VM, TARGET, set(), ())
    assert plan.files == (MOVE,) and plan.disks == VM.disks
    plan = plan_move(VM, OTHER_FOLDER, set(), ())
    assert [file.new_path for file in plan.files] == ["/data/vms/web.vda"]
    assert [disk.specification for disk in plan.disks] == ["file:/data/vms/web.vda,vda,virtio"]
    mounts = container("vmc-0-1", vm_image_directories="")
    plan = plan_move(VM, mounts, set(), [("/", "1000MB"), ("/export", "9GB")])
    assert [file.new_path for file in plan.files] == ["/export/kvm/disks/web.vda"]


def test_what_a_nas_has_stays_there() -> None:
    vm = machine(disks=[FILE, "phy:/dev/mapper/web,vdb,virtio"], uuid=UUID)
    assert plan_move(vm, TARGET, {0, 1}, ()).files == ()
    assert plan_move(vm, TARGET, {1}, ()).files == (MOVE,)
    with pytest.raises(StateError, match="its disk phy:/dev/mapper/web,vdb,virtio is a device of vmc-0-0"):
        plan_move(vm, TARGET, {0}, ())


def test_a_disk_that_has_no_place_is_not_moved() -> None:
    with pytest.raises(StateError, match="outside the image directories of vmc-0-0"):
        plan_move(machine(disks=["file:/root/web.vda,vda,virtio"]), TARGET, set(), ())
    with pytest.raises(StateError, match="could not find a partition on host .vmc-0-1."):
        plan_move(VM, container("vmc-0-1", vm_image_directories=""), set(), ())
    two = machine(disks=[FILE, "file:/images/b/web.vda,vdb,virtio"])
    with pytest.raises(StateError, match="two of its disks would be /data/vms/web.vda on vmc-0-1"):
        plan_move(two, OTHER_FOLDER, set(), ())


def test_a_machine_that_may_run_is_not_moved() -> None:
    check_is_off(VM, None, {})
    check_is_off(VM, Lease("web", 4, None, "released"), {})
    with pytest.raises(
        StateError, match="it may be running on vmc-0-0; stop it first: rocks stop host vm web"
    ):
        check_is_off(VM, Lease("web", 4, "vmc-0-0", "stopping"), {})
    with pytest.raises(HostError, match="web is not moved: no answer"):
        check_is_off(VM, None, {"vmc-0-0": HostError("no answer")})


def test_a_machine_that_runs_moves_with_image_files_that_keep_their_paths() -> None:
    runs = Lease("web", 4, "vmc-0-0", "running")
    plan = plan_move(VM, TARGET, set(), ())
    check_live(VM, TARGET, plan, runs)
    move = "without live=yes: rocks move host vm web vmc-0-1"
    for lease, text in (
        (None, f"off; a machine that is off moves {move}"),
        (Lease("web", 4, None, "released"), f"off; a machine that is off moves {move}"),
        (
            Lease("web", 4, "vmc-0-0", "saved"),
            "saved on vmc-0-0; rocks restore host vm web continues it there",
        ),
        (
            Lease("web", 4, "vmc-0-0", "stopping"),
            f"stopping on vmc-0-0; rocks stop host vm web ends that; then it moves {move}",
        ),
    ):
        with pytest.raises(StateError, match=f"web does not run on vmc-0-0, by its lease it is {text}$"):
            check_live(VM, TARGET, plan, lease)
    with pytest.raises(StateError, match="would be /data/vms/web.vda on vmc-0-1; give that host"):
        check_live(VM, OTHER_FOLDER, plan_move(VM, OTHER_FOLDER, set(), ()), runs)


def test_only_the_unused_disk_of_the_machine_is_moved() -> None:
    assert check_source(VM, MOVE, {}) is None
    assert check_source(VM, MOVE, fact("/images/a/web.vda", user="web"), is_running=True) is not None
    assert check_source(VM, MOVE, fact(MOVE.path)) == fact(MOVE.path)[MOVE.path]
    for owner, text in (("", "belongs to nobody"), ("other", "belongs to other")):
        with pytest.raises(StateError, match=text):
            check_source(VM, MOVE, fact(MOVE.path, owner))
    with pytest.raises(StateError, match="in use by web; to remove its domain there: rocks stop host vm web"):
        check_source(VM, MOVE, fact(MOVE.path, user="web"))
    with pytest.raises(StateError, match="in use by process 7$"):
        check_source(VM, MOVE, fact(MOVE.path, user="process 7"))


def test_a_machine_with_snapshots_is_not_moved() -> None:
    snapshot = f"{MOVE.path}.snapshot.before.1-of-1"
    check_no_snapshots(VM, fact(MOVE.path))
    check_no_snapshots(VM, fact(snapshot, "other"))
    with pytest.raises(
        StateError, match="its snapshot before is on vmc-0-0 .*rocks remove host vm snapshot web before"
    ):
        check_no_snapshots(VM, fact(snapshot))


def test_only_copies_of_moves_are_replaced() -> None:
    unfinished = moving_path(MOVE.new_path)
    check_target(VM, TARGET, MOVE, {}, is_copy=False)
    check_target(VM, TARGET, MOVE, fact(unfinished), is_copy=False)
    check_target(VM, TARGET, MOVE, fact(MOVE.new_path), is_copy=True)
    for found, is_copy in (
        (fact(MOVE.new_path), False),
        (fact(MOVE.new_path, "other"), True),
        (fact(unfinished, "other"), True),
    ):
        with pytest.raises(StateError, match="there is a file .* on vmc-0-1 that is no copy of a move"):
            check_target(VM, TARGET, MOVE, found, is_copy)


def test_the_new_host_keeps_a_gigabyte_free() -> None:
    check_target_space(VM, TARGET, MOVE.new_path, 10**9, 10**9 + 2**30)
    with pytest.raises(
        StateError, match=r"the 1\.0 GiB that must stay free need 1\.9 GiB on vmc-0-1, .* has 1\.9 GiB free"
    ):
        check_target_space(VM, TARGET, MOVE.new_path, 10**9, 10**9 + 2**30 - 1)


def test_the_small_disk_for_cloud_init_is_left_with_the_files() -> None:
    assert left_paths(VM, (MOVE,)) == (MOVE.path,)
    of_image = replace(VM, host=replace(VM.host, attributes={"vm_image": "debian"}))
    assert left_paths(of_image, (MOVE,)) == (MOVE.path, f"{MOVE.path}.seed")
