"""Disks on a NAS that are clones of one of its volumes, which the attribute vm_image names.

The hosts of these tests are played, as in `test_storage_vms`.
"""

import os
from pathlib import Path

import pytest

from rocks.core.values import BYTES_PER_GIB
from rocks.database.connection import Database
from rocks.storage.volumes import move_records
from tests.system.imgstorage.image_site import NAS
from tests.system.imgstorage.storage_site import END, HOST, START, STOP, Storage
from tests.system.imgstorage.test_image_bases import add_image, add_machine, start

pytestmark = pytest.mark.slow

CONTENT = os.urandom(8192)


def read(storage: Storage, volume: str) -> bytes:
    return storage.images.nas.pools.read(f"tank/{volume}", len(CONTENT))


def test_disks_are_clones_of_a_volume(storage: Storage) -> None:
    """They have the size of the machine's disk; one snapshot is enough until the volume changes."""
    pools = storage.images.nas.pools
    storage.done("set", "host", "attr", HOST, "vm_image_directory", "/images")
    names = [add_machine(storage, f"copy-{number}", "volume:golden") for number in (1, 2, 3)]
    assert "has no image golden in tank" in storage.rocks(*START, names[0]).err
    storage.done("add", "host", "storageimg", NAS, "tank", "golden", "size=1")
    pools.write("tank/golden", CONTENT)
    for name in names[:2]:
        assert start(storage, name) == ""
    facts = [pools.read_volume(f"tank/{name}-vol") for name in names[:2]]
    assert len({fact.origin for fact in facts if fact}) == 1, facts
    assert [fact.size_bytes for fact in facts if fact] == [BYTES_PER_GIB] * 2
    assert [read(storage, f"{name}-vol") for name in names[:2]] == [CONTENT] * 2
    storage.images.wait_for_state(f"{names[0]}-vol", "local")
    storage.images.hosts[HOST].pools.write(f"tank/{names[0]}-vol", b"written")
    storage.done(*STOP, names[0], END)
    pools.write("tank/golden", b"changed")
    assert start(storage, names[2]) == start(storage, names[0]) == ""
    assert read(storage, f"{names[2]}-vol")[:7] == b"changed"
    assert read(storage, f"{names[0]}-vol")[:7] == b"written" and read(storage, "golden")[:7] == b"changed"


def test_a_fresh_disk_is_a_clone_again(storage: Storage) -> None:
    storage.done("set", "host", "attr", HOST, "vm_image_directory", "/images")
    storage.done("add", "host", "storageimg", NAS, "tank", "master", "size=1")
    storage.images.nas.pools.write("tank/master", CONTENT)
    name = add_machine(storage, "fresh-1", "volume:master")
    start(storage, name)
    storage.images.wait_for_state(f"{name}-vol", "local")
    storage.images.hosts[HOST].pools.write(f"tank/{name}-vol", b"written")
    storage.stop(name)
    assert "makes it from the image volume:master" in storage.succeeded("reinstall", "host", "vm", name).err
    start(storage, name)
    assert read(storage, f"{name}-vol") == CONTENT


def test_a_volume_that_is_being_destroyed_fails_its_machine_only(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(move_records, "LOCK_WAIT_SECONDS", 0.0)
    storage.done("set", "host", "attr", HOST, "vm_image_directory", "/images")
    for name, volume in (("held-1", "leaving"), ("free-1", "staying")):
        storage.done("add", "host", "storageimg", NAS, "tank", volume, "size=1")
        start(storage, add_machine(storage, name, f"volume:{volume}"))
        storage.stop(name)
    lock = move_records._lock_name(NAS, "leaving")
    with Database(storage.cluster.database.settings) as other:
        other.lock_all([lock], 0)
        message = storage.rocks("reinstall", "host", "vm", "held-1", "free-1").err
    assert f"held-1: another command is at work on {lock}" in message and "free-1: " not in message
    storage.succeeded("reinstall", "host", "vm", "held-1", "free-1")


def test_a_disk_stays_when_its_volume_makes_no_other(storage: Storage, library: Path) -> None:
    """Neither a clone of a volume nor one of an image of the library is destroyed, for force neither."""
    pools = storage.images.nas.pools
    add_image(storage, library, "release")
    storage.done("add", "host", "storageimg", NAS, "tank", "origin", "size=1")
    for name, image in (("kept-1", "volume:origin"), ("kept-2", "release")):
        start(storage, add_machine(storage, name, image))
        storage.stop(name)
        pools.write(f"tank/{name}-vol", b"homework")
    storage.done("add", "host", "storageimg", NAS, "tank", "wide", "size=5")
    storage.done("add", "host", "storageimg", NAS, "tank", "used", "size=1")
    storage.map("used")
    for name in ("kept-1", "kept-2"):
        for volume, message in (
            ("nosuch", f"{NAS} has no image of that name in tank"),
            (f"{name}-vol", "which this command removes"),
            ("used", f"which is local on {HOST}"),
            ("wide", "has 1 GiB, and the image volume:wide is a disk of 5.0 GiB; give it at least 5 GiB"),
        ):
            storage.done("set", "host", "attr", name, "vm_image", f"volume:{volume}")
            assert message in storage.refused("reinstall", "host", "vm", name, "force=yes")
        assert read(storage, f"{name}-vol")[:8] == b"homework"


def test_a_volume_larger_than_the_disk_makes_none(storage: Storage) -> None:
    storage.done("set", "host", "attr", HOST, "vm_image_directory", "/images")
    storage.done("add", "host", "storageimg", NAS, "tank", "big", "size=5")
    name = add_machine(storage, "narrow-1", "volume:big")
    assert "narrow-1 is not started: ZVol narrow-1-vol is to have 1.0 GiB" in storage.rocks(*START, name).err
    assert storage.images.nas.pools.read_volume(f"tank/{name}-vol") is None


def test_a_volume_that_machines_need_is_not_removed(storage: Storage) -> None:
    remove = ("remove", "host", "storageimg", NAS, "tank", "needed", "now=yes")
    storage.done("add", "host", "storageimg", NAS, "tank", "needed", "size=1")
    name = add_machine(storage, "needy-1", "volume:needed")
    message = storage.refused(*remove)
    assert (
        "the image volume:needed is not removed, since disks are made from it" in message and name in message
    )
    storage.done("set", "host", "vm", "nas", name, f"nas={NAS}", "zpool=other")
    storage.done(*remove)


def test_a_machine_whose_disk_others_need_is_not_removed_with_its_disk(storage: Storage) -> None:
    """Neither alone nor with one of two; with all that need it, or without its disk, it is."""
    storage.done("set", "host", "attr", HOST, "vm_image_directory", "/images")
    storage.add_vm("golden-1")
    assert storage.rocks(*START, "golden-1").status == 0
    storage.stop("golden-1")
    names = [add_machine(storage, f"user-{number}", "volume:golden-1-vol") for number in (1, 2)]
    before = storage.cluster.contents()
    for machines in (["golden-1"], ["golden-1", names[0]]):
        message = storage.refused("remove", "host", "vm", *machines, "disks=remove")
        assert "the image volume:golden-1-vol is not removed" in message and names[-1] in message
    assert storage.cluster.contents() == before
    assert storage.images.nas.pools.read_volume("tank/golden-1-vol") is not None
    assert storage.rocks("remove", "host", "vm", "golden-1", *names, "disks=remove").status == 0
    assert storage.images.nas.pools.read_volume("tank/golden-1-vol") is None


def test_a_fresh_disk_waits_for_the_removal_of_its_volume(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another command destroys the volume that it is to be a clone of, the old disk stays."""
    storage.done("set", "host", "attr", HOST, "vm_image_directory", "/images")
    storage.done("add", "host", "storageimg", NAS, "tank", "going", "size=1")
    name = add_machine(storage, "last-1", "volume:going")
    start(storage, name)
    storage.stop(name)
    storage.images.nas.pools.write(f"tank/{name}-vol", b"homework")
    monkeypatch.setattr(move_records, "LOCK_WAIT_SECONDS", 0.0)
    storage.cluster.database.lock(f"volume {NAS}:going", 0)
    assert f"volume {NAS}:going" in storage.refused("reinstall", "host", "vm", name)
    storage.cluster.database.unlock(f"volume {NAS}:going")
    assert read(storage, f"{name}-vol")[:8] == b"homework"
    storage.succeeded("reinstall", "host", "vm", name)
