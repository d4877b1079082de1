"""Machines that are removed with their disks: the NAS destroys the images, and only those that are theirs.

The hosts of these tests are played, as in `test_storage_vms`.
"""

import uuid
from collections.abc import Sequence
from typing import Any

import pytest

from rocks.commands._shared import vm_removal as removal_with_hooks
from rocks.core.errors import RocksError
from rocks.database.connection import Database
from rocks.inventory.records import VirtualMachine
from rocks.leases.lease import lock_vms
from rocks.machine import remove as vm_removal
from rocks.storage.client import asking
from rocks.storage.nas import command_requests
from rocks.storage.wire import requests as wire
from tests.system.commands.conftest import Ended
from tests.system.imgstorage.image_site import NAS
from tests.system.imgstorage.storage_site import END, HOST, START, STOP, Storage, run_until_killed

REMOVE_VM = ("remove", "host", "vm")


def used(storage: Storage, name: str, *disks: str) -> str:
    """A machine that has run once and is off, its images unmapped."""
    storage.add_vm(name, *disks)
    assert storage.rocks(*START, name).status == 0
    storage.stop(name)
    return name


def volumes(storage: Storage, *names: str) -> list[str]:
    found = [fact.name.partition("/")[2] for fact in storage.images.nas.pools.list_volumes("tank")]
    return sorted(volume for volume in found if volume.rpartition("-vol")[0] in names)


def machines(storage: Storage) -> set[str]:
    """Those of the database."""
    names = storage.cluster.rows("SELECT n.Name FROM vm_nodes v JOIN nodes n ON n.ID = v.Node")
    return {name for (name,) in names}


def removed(storage: Storage, *names: str) -> Ended:
    ended = storage.succeeded(*REMOVE_VM, *names, "disks=remove")
    assert not machines(storage) & set(names)
    return ended


def test_the_images_of_a_machine_go_with_it(storage: Storage) -> None:
    """All of it, at once, and none of another's; the name is free again for a machine with an empty disk."""
    used(storage, "leaver", "vda", "vdb")
    used(storage, "stayer")
    storage.images.nas.pools.write("tank/leaver-vol", b"old", 4096)
    before = storage.cluster.contents()
    dry = storage.succeeded(*REMOVE_VM, "leaver", "disks=remove", "dry-run=yes")
    for volume in ("leaver-vol", "leaver-vol1"):
        assert f"{NAS}: would destroy the image {volume}\n" in dry.out + dry.err
    assert volumes(storage, "leaver") == ["leaver-vol", "leaver-vol1"]
    assert storage.cluster.contents() == before

    ended = removed(storage, "leaver")
    for volume in ("leaver-vol", "leaver-vol1"):
        assert f"the image {NAS}:tank/{volume} is destroyed" in ended.err
    assert "leaver-vol2" not in ended.err and "stayer-vol" not in ended.err
    assert volumes(storage, "leaver", "stayer") == ["stayer-vol"]
    storage.done("remove", "host", "leaver")
    used(storage, "leaver")
    assert storage.images.nas.pools.read("tank/leaver-vol", 3, 4096) == bytes(3)


def test_a_machine_that_never_started_has_no_image(storage: Storage) -> None:
    storage.add_vm("unborn")
    ended = removed(storage, "unborn")
    assert "unborn-vol" not in ended.err


def test_a_mapped_image_refuses_the_command_before_anything(storage: Storage) -> None:
    used(storage, "early")
    storage.add_vm("mapped")
    assert storage.rocks(*START, "mapped").status == 0
    message = storage.refused(*REMOVE_VM, "early", "mapped", "disks=remove")
    assert f"its image {NAS}:mapped-vol is mapped to {HOST}" in message
    assert volumes(storage, "early", "mapped") == ["early-vol", "mapped-vol"]
    storage.done(*STOP, "mapped", END)


def test_the_image_of_a_removed_machine_of_the_name_stays(storage: Storage) -> None:
    """It bears the UUID of that machine; the new one has never had a disk."""
    used(storage, "heir")
    assert storage.rocks(*REMOVE_VM, "heir").status == 0
    storage.done("remove", "host", "heir")
    storage.add_vm("heir")
    ended = removed(storage, "heir")
    assert (
        f"the image {NAS}:tank/heir-vol of heir may stay: it bears the UUID of another machine" in ended.err
    )
    assert f"rocks remove host storageimg {NAS} tank heir-vol now=yes" in ended.err
    assert volumes(storage, "heir") == ["heir-vol"]
    storage.done("remove", "host", "storageimg", NAS, "tank", "heir-vol", "now=yes")


def test_a_nas_compares_the_uuid_itself(storage: Storage) -> None:
    """The image may have become another machine's after it was listed."""
    used(storage, "mine")
    with pytest.raises(Exception, match="belongs to another machine"):
        storage.images.ask(wire.DelZvol("tank", "mine-vol", machine="of another"))
    assert volumes(storage, "mine") == ["mine-vol"]
    removed(storage, "mine")


def test_a_refused_start_does_not_discard_changes_of_the_former_machine(storage: Storage) -> None:
    """The machine was made anew, with img_persistent no, while its host has the image of the former one."""
    vm = storage.add_vm("anew")
    assert storage.rocks(*START, vm).status == 0
    storage.images.wait_for_state("anew-vol", "local")
    storage.images.hosts[HOST].pools.write("tank/anew-vol", b"of the former", 4096)
    storage.release(vm)
    storage.done("set", "host", "vm", vm, f"uuid={uuid.uuid4()}")
    storage.done("set", "host", "attr", vm, "img_persistent", "no")
    assert "belongs to another machine" in storage.rocks(*START, vm).err
    storage.done("remove", "host", "storagemap", NAS, "anew-vol")
    assert storage.images.nas.pools.read("tank/anew-vol", 13, 4096) == b"of the former"


def test_an_image_that_another_machine_has_as_a_disk_stays(storage: Storage) -> None:
    used(storage, "lender")
    storage.done("add", "host", "vm", HOST, "compute", "name=borrower")
    storage.done("set", "host", "vm", "borrower", "disk=phy:/dev/mapper/lender-vol-snap,vda,virtio")
    ended = removed(storage, "lender")
    assert "its device lender-vol-snap is a disk of borrower, too" in ended.err
    assert volumes(storage, "lender") == ["lender-vol"]


def test_clones_are_destroyed_before_their_origin(storage: Storage) -> None:
    """A teacher's cluster with the students' clones of it, by one command, in any order."""
    used(storage, "origin")
    storage.add_vm("student")
    storage.done("add", "host", "storageimg", NAS, "tank", "student-vol", "origin=origin-vol")
    ended = removed(storage, "origin", "student")
    assert "may stay" not in ended.err and volumes(storage, "origin", "student") == []
    storage.done("remove", "host", "origin")
    used(storage, "origin")
    storage.done("add", "host", "storageimg", NAS, "tank", "free-vol", "origin=origin-vol")
    assert "tank/free-vol is a clone of" in removed(storage, "origin").err
    assert volumes(storage, "origin", "free") == ["free-vol", "origin-vol"]


def test_a_silent_nas_keeps_images_that_the_command_names(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    used(storage, "lonely", "vda", "vdb")
    with storage.images.nas.away(), monkeypatch.context() as patch:
        patch.setattr(asking, "QUICK_SECONDS", 0.5)
        ended = removed(storage, "lonely")
    for volume in ("lonely-vol", "lonely-vol1"):
        line = next(line for line in ended.err.splitlines() if f"tank/{volume} of lonely may stay" in line)
        assert "has not answered within 0.5 s" in line
        advice = line.partition("when it is not needed: rocks ")[2]
        storage.done(*advice.split())
    assert volumes(storage, "lonely") == []


def test_a_volume_that_its_nas_does_not_list_stays(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a reinstallation of the NAS over its pools: nobody knows whose it is."""
    used(storage, "unlisted")
    with monkeypatch.context() as patch:
        patch.setattr(command_requests, "first_page", lambda rows, size: ([], False))
        ended = removed(storage, "unlisted")
    assert f"{NAS} does not list an image tank/unlisted-vol of unlisted" in ended.err
    assert volumes(storage, "unlisted") == ["unlisted-vol"]
    advice = ended.err.partition("it is not needed: rocks ")[2].splitlines()[0]
    storage.done(*advice.split())
    assert volumes(storage, "unlisted") == []


def test_a_machine_that_moved_before_the_lock_is_removed_where_it_is(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.done("add", "host", "vm", HOST, "compute", "name=mover")
    stop_machines, seen = vm_removal.stop_machines, []

    def moved(database: Database, names: Sequence[str]) -> dict[str, RocksError]:
        database.execute(
            "UPDATE vm_nodes v JOIN nodes n ON n.ID = v.Node JOIN nodes p ON p.Name = 'vmc-0-1'"
            " SET v.PhysNode = p.ID WHERE n.Name = 'mover'"
        )
        return lock_vms(database, names)

    def seeing(database: Database, machines: Sequence[VirtualMachine], **more: Any) -> Any:
        seen.extend((vm.name, vm.container and vm.container.name) for vm in machines)
        return stop_machines(database, machines, **more)

    monkeypatch.setattr(removal_with_hooks, "lock_vms", moved)
    monkeypatch.setattr(vm_removal, "stop_machines", seeing)
    assert storage.rocks(*REMOVE_VM, "mover", "disks=remove").status == 0
    assert seen == [("mover", "vmc-0-1")]


def test_a_killed_command_is_completed_by_its_repetition(storage: Storage) -> None:
    """SIGKILL when the images are destroyed and the rows are not deleted."""
    used(storage, "victim", "vda", "vdb")
    before = storage.cluster.contents()
    run_until_killed(
        "from rocks.core.errors import HostError\n"
        "from rocks.machine import images, remove\n"
        "images.ask_each = lambda database, requests, *_, **__: [(host, HostError('silent')) for host in requests]\n"
        "remove.delete_vms = kill",
        *REMOVE_VM,
        "victim",
        "disks=remove",
    )
    assert volumes(storage, "victim") == [] and "victim" in machines(storage)
    assert storage.cluster.contents() == before
    removed(storage, "victim")


def test_a_cluster_is_removed_and_made_again(storage: Storage) -> None:
    """With the names and addresses that it had."""
    storage.done("set", "attr", "vm_vlan_pool", "2-300")
    storage.done("set", "host", "attr", HOST, "img_sync", "yes")
    places = (f"fe-container={HOST}", f"container-hosts={HOST}", "disk-per-compute=2", "disk-per-frontend=3")
    add = ("add", "cluster", "203.0.113.9", "1", "fe-name=classroom", "cluster-naming=yes", *places)
    names = ("classroom", "vm-classroom-0")
    for _ in range(2):
        storage.done(*add)
        storage.done("set", "host", "vm", "nas", *names, f"nas={NAS}", "zpool=tank")
        ended = storage.succeeded(*START, *names)
        storage.stop(*names)
        assert len(volumes(storage, *names)) == 2
        ended = storage.rocks("remove", "cluster", "classroom", "disks=remove")
        assert ended.status == 0 and volumes(storage, *names) == []
        assert f"the image {NAS}:tank/vm-classroom-0-vol is destroyed" in ended.err


def test_an_image_that_stays_on_its_nas_is_named(storage: Storage) -> None:
    """With disks=keep; a machine that was never started has none."""
    used(storage, "lasting")
    storage.add_vm("unborn")
    ended = storage.rocks(*REMOVE_VM, "lasting", "unborn")
    assert ended.status == 0 and "unborn-vol" not in ended.err
    advice = ended.err.partition(f"the image {NAS}:tank/lasting-vol of lasting stays")[2]
    assert f"rocks remove host storageimg {NAS} tank lasting-vol\n" in advice
    assert volumes(storage, "lasting") == ["lasting-vol"]
