"""Bases of images that the library has no more, because a removal was interrupted or a NAS did not answer."""

from __future__ import annotations

from pathlib import Path

from rocks.storage.wire.bases import base_volume
from tests.system.commands.conftest import rocks, silent_hosts, site, vm_site
from tests.system.imgstorage.image_site import NAS
from tests.system.imgstorage.storage_site import Storage, certified, daemons, storage
from tests.system.imgstorage.test_image_bases import add_image, add_machine, library, rows, start
from tests.system.imgstorage.test_storage_vms import END, STOP, hosts

__all__ = [
    "certified",
    "daemons",
    "hosts",
    "library",
    "rocks",
    "silent_hosts",
    "site",
    "storage",
    "vm_site",
]


def test_a_removal_that_was_interrupted_is_repeated(storage: Storage, library: Path) -> None:
    """The image's files are gone, the base is there: it is listed so, and goes when no disk needs it."""
    _, digest = add_image(storage, library, "half")
    vm = add_machine(storage, "half-user", "half")
    start(storage, vm)
    storage.done(*STOP, vm, END)
    for file in library.glob("half.*"):
        file.unlink()
    (row,) = rows(storage, "list", "image", "half", "bases=yes")
    assert (row["volume"], row["clones"], row["state"]) == (base_volume(digest), 1, "removed")
    ended = storage.rocks("remove", "image", "half")
    assert ended.status == 0 and f"{NAS}:tank/{base_volume(digest)} stays" in ended.err
    storage.done("remove", "host", "storageimg", NAS, "tank", f"{vm}-vol", "now=yes")
    assert storage.done("remove", "image", "half") == ""
    assert storage.images.nas.pools.read_volume(f"tank/{base_volume(digest)}") is None
    assert "there is no image half" in storage.refused("remove", "image", "half")
    assert "the name of an image has 1 to 64" in storage.refused("remove", "image", "../half")
