"""Fresh disks for machines on a NAS: the volume goes, and the next start clones it from the image again.

The hosts of these tests are played, as in `test_storage_vms`.
"""

from pathlib import Path
from typing import Any

import pytest

from rocks.core.errors import RocksError
from rocks.storage.bus import NoAnswerError
from rocks.storage.client import StorageClient, asking
from rocks.storage.volumes import volumes as images
from rocks.storage.wire import requests as wire
from rocks.storage.wire.names import base_volume
from tests.system.imgstorage.image_site import NAS
from tests.system.imgstorage.storage_site import HOST, Storage, owner, run_until_killed
from tests.system.imgstorage.test_image_bases import add_image, add_machine, content_of, start

REINSTALL = ("reinstall", "host", "vm")


def used(storage: Storage, name: str, image: str, *disks: str) -> str:
    """A machine with an image that has run, written to its disks, and is off."""
    storage.add_vm(name, *disks)
    storage.done("set", "host", "attr", name, "vm_image", image)
    start(storage, name)
    storage.stop(name)
    for number in range(len(disks or ("vda",))):
        storage.images.nas.pools.write(f"tank/{name}-vol{number or ''}", b"homework", 4096)
    return name


def has(storage: Storage, volume: str) -> bool:
    return storage.images.nas.pools.read_volume(f"tank/{volume}") is not None


def instance(storage: Storage, name: str) -> str:
    found = storage.cluster.rows(
        "SELECT t.Value FROM attributes t JOIN catindex i ON i.ID = t.Catindex"
        " WHERE t.Attr = 'vm_instance' AND i.Name = %s",
        [name],
    )
    return str(found[0][0]) if found else ""


def test_the_volume_is_cloned_anew_from_the_image(storage: Storage, library: Path) -> None:
    """The second disk stays; a machine beside it is not touched."""
    content, digest = add_image(storage, library, "fresh")
    used(storage, "pupil", "fresh", "vda", "vdb")
    used(storage, "neighbour", "fresh")
    before = storage.cluster.contents()
    dry = storage.rocks(*REINSTALL, "pupil", "dry-run=yes")
    assert dry.status == 0 and f"{NAS}: would destroy the image pupil-vol\n" in dry.out
    assert "pupil-vol1" not in dry.out
    assert has(storage, "pupil-vol") and storage.cluster.contents() == before

    ended = storage.succeeded(*REINSTALL, "pupil")
    assert ended.err == (
        "pupil: its disk vda is removed; its next start makes it from the image fresh\n"
        "pupil: vdb stays as before\n"
    )
    assert not has(storage, "pupil-vol") and instance(storage, "pupil") == "1"
    start(storage, "pupil")
    storage.stop("pupil")
    assert content_of(storage, "pupil-vol") == content
    assert storage.images.nas.pools.read("tank/pupil-vol1", 8, 4096) == b"homework"
    assert storage.images.nas.pools.read("tank/neighbour-vol", 8, 4096) == b"homework"
    fact = storage.images.nas.pools.read_volume("tank/pupil-vol")
    assert fact is not None and fact.origin == f"tank/{base_volume(digest)}@base"
    again = storage.rocks(*REINSTALL, "pupil", "neighbour")
    assert again.status == 0 and (instance(storage, "pupil"), instance(storage, "neighbour")) == ("2", "2")


def test_a_mapped_image_needs_force(storage: Storage, library: Path) -> None:
    """With it, the changes are written back before the volume is destroyed: nothing is destroyed under a host."""
    content, _ = add_image(storage, library, "mappable")
    used(storage, "latecomer", "mappable")
    start(storage, "latecomer")
    message = storage.refused(*REINSTALL, "latecomer")
    assert f"latecomer may be running on {HOST}" in message
    storage.release("latecomer")
    message = storage.refused(*REINSTALL, "latecomer")
    assert f"the image {NAS}:latecomer-vol of latecomer is mapped to {HOST}" in message
    assert "rocks stop host vm latecomer terminate=yes" in message
    dry = storage.succeeded(*REINSTALL, "latecomer", "force=yes", "dry-run=yes")
    for step in ("unmap the image latecomer-vol", "destroy the image latecomer-vol"):
        assert f"{NAS}: would {step}" in dry.out
    assert owner(storage, "latecomer-vol") == HOST
    storage.succeeded(*REINSTALL, "latecomer", "force=yes")
    assert not has(storage, "latecomer-vol")
    assert storage.images.leftovers(HOST) == []
    start(storage, "latecomer")
    storage.stop("latecomer")
    assert content_of(storage, "latecomer-vol") == content


def test_disks_that_an_image_does_not_replace_stay(storage: Storage, library: Path) -> None:
    """A clone of another machine's disk; the image of a removed machine; a machine without an image."""
    add_image(storage, library, "other")
    used(storage, "teacher", "other")
    add_machine(storage, "clone", "other")
    storage.done("add", "host", "storageimg", NAS, "tank", "clone-vol", "origin=teacher-vol")
    message = storage.refused(*REINSTALL, "clone")
    assert f"the disk {NAS}:clone-vol of clone is a clone of tank/teacher-vol@" in message
    assert "image=other does that, and rocks clone host vm makes such a clone again" in message
    ended = storage.rocks(*REINSTALL, "teacher", "clone")
    assert ended.status == 1 and "no disk of these 2 machines was removed" in ended.err
    assert has(storage, "teacher-vol") and has(storage, "clone-vol")
    start(storage, "teacher")
    message = storage.refused(*REINSTALL, "teacher", "force=yes")
    assert "since tank/clone-vol is a clone of it" in message
    assert owner(storage, "teacher-vol") == HOST, "nothing was done before the refusal"
    storage.stop("teacher")

    used(storage, "renewed", "other")
    assert storage.rocks("remove", "host", "renewed").status == 0
    add_machine(storage, "renewed", "other")
    message = storage.refused(*REINSTALL, "renewed")
    assert f"the image {NAS}:renewed-vol belongs to another machine" in message
    assert f"rocks remove host storageimg {NAS} tank renewed-vol now=yes" in message
    storage.add_vm("bare")
    assert "bare has no image" in storage.refused(*REINSTALL, "bare")


def test_another_image_is_that_of_the_machine_from_then_on(storage: Storage, library: Path) -> None:
    """It is recorded when the old disk is gone; an ISO, or a name that the library lacks, removes none."""
    add_image(storage, library, "former")
    content, _ = add_image(storage, library, "latter")
    used(storage, "chooser", "former")
    iso = library.parent / "medium.iso"
    iso.write_bytes(bytes(0x8000) + b"\x01CD001\x01" + bytes(4096))
    storage.done("add", "image", "medium", f"file={iso}", "format=iso")
    for image, reason in (("absent", "there is no image absent"), ("medium", "the image medium is an ISO")):
        message = storage.refused(*REINSTALL, "chooser", f"image={image}")
        assert f"chooser would get no disk: {reason}" in message
    assert "name of an image has 1 to 64 letters" in storage.refused(*REINSTALL, "chooser", "image=../etc")
    assert has(storage, "chooser-vol")
    ended = storage.succeeded(*REINSTALL, "chooser", "image=latter")
    assert "chooser: its disk vda is removed; its next start makes it from the image latter" in ended.err
    start(storage, "chooser")
    storage.stop("chooser")
    assert content_of(storage, "chooser-vol") == content
    assert "disks are made from it" in storage.refused("remove", "image", "latter")
    storage.done("remove", "image", "former")


def test_an_image_larger_than_the_disk_refuses(storage: Storage, library: Path) -> None:
    """The old disk would be gone, and no new one could be made."""
    add_image(storage, library, "small")
    used(storage, "narrow", "small")
    file = library.parent / "huge.raw"
    with file.open("wb") as image:
        image.truncate(3_000_000_000)
        image.write(b"boot")
    storage.done("add", "image", "huge", f"file={file}")
    storage.done("set", "host", "attr", "narrow", "vm_image", "huge")
    assert "the disk of narrow has 1 GiB, and the image huge is a disk of" in storage.refused(
        *REINSTALL, "narrow"
    )
    assert has(storage, "narrow-vol")


def test_after_a_restore_the_hosts_are_asked_first(storage: Storage, library: Path) -> None:
    """The machine may run on a host that the older copy of the records does not have."""
    add_image(storage, library, "restored")
    used(storage, "elsewhere", "restored")
    ((identity,),) = storage.cluster.rows("SELECT Identity FROM lease_epoch")
    storage.cluster.change("UPDATE lease_epoch SET Identity = 'another'")
    try:
        assert "rocks sync vm lease" in storage.refused(*REINSTALL, "elsewhere")
    finally:
        storage.cluster.change("UPDATE lease_epoch SET Identity = %s", [identity])
    assert has(storage, "elsewhere-vol")


def test_a_destruction_that_takes_long_is_one(
    storage: Storage, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The NAS has accepted it, so the machine is another instance."""
    add_image(storage, library, "slow")
    used(storage, "sluggish", "slow")
    monkeypatch.setattr(images, "GONE_SECONDS", 0.0)
    ended = storage.rocks(*REINSTALL, "sluggish")
    assert ended.status == 0 and "sluggish: its disk vda is removed" in ended.err
    assert instance(storage, "sluggish") == "1"


def test_a_silent_nas_refuses(storage: Storage, library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_image(storage, library, "quiet")
    used(storage, "waiting", "quiet")
    with storage.images.nas.away(), monkeypatch.context() as patch:
        patch.setattr(asking, "QUICK_SECONDS", 0.5)
        assert f"waiting: {NAS} does not answer" in storage.refused(*REINSTALL, "waiting")
    assert has(storage, "waiting-vol")


def test_a_killed_command_is_completed_by_its_repetition(storage: Storage, library: Path) -> None:
    """SIGKILL when the volume is destroyed and the number of the instance is not recorded."""
    content, _ = add_image(storage, library, "deadly")
    used(storage, "phoenix", "deadly")
    before = storage.cluster.contents()
    patches = "from rocks.cluster import reinstall\nreinstall.replace_attribute = kill"
    run_until_killed(patches, *REINSTALL, "phoenix")
    assert not has(storage, "phoenix-vol") and storage.cluster.contents() == before
    repeated = storage.succeeded(*REINSTALL, "phoenix")
    assert repeated.err == (
        f"phoenix: {NAS} does not list an image tank/phoenix-vol, so nothing is removed; its next start makes that "
        "from the image deadly, or uses the volume if the pool has it all the same: to remove that first: rocks remove "
        f"host storageimg {NAS} tank phoenix-vol now=yes\n"
    )
    start(storage, "phoenix")
    storage.stop("phoenix")
    assert content_of(storage, "phoenix-vol") == content and instance(storage, "phoenix") == "1"


def test_a_write_back_that_takes_too_long_leaves_the_disk(
    storage: Storage, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_image(storage, library, "endless")
    used(storage, "patient", "endless")
    start(storage, "patient")
    storage.release("patient")
    waited: list[float] = []

    def wait(_: object, queries: dict[str, object], seconds: float, *more: object) -> dict[str, RocksError]:
        waited.append(seconds)
        return {key: NoAnswerError(f"{NAS} has not answered") for key in queries}

    with monkeypatch.context() as patch:
        patch.setattr(StorageClient, "wait_each", wait)
        message = storage.rocks(*REINSTALL, "patient", "force=yes", "timeout=7").err
        assert storage.rocks(*REINSTALL, "patient", "force=yes").status == 1
    assert waited == [7, 3600]
    assert f"patient keeps its disk for now: its changes are not written back yet ({NAS} has not" in message
    assert "repeat: rocks reinstall host vm patient; timeout=SECONDS waits longer" in message
    assert has(storage, "patient-vol") and instance(storage, "patient") == ""
    assert 'timeout "0" must be an integer from 1 to 86400' in storage.refused(
        *REINSTALL, "patient", "timeout=0"
    )
    assert storage.rocks(*REINSTALL, "patient", "force=yes").status == 0


def test_a_destruction_that_is_not_answered_is_not_known(
    storage: Storage, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The NAS may have taken the request."""
    add_image(storage, library, "unanswered")
    used(storage, "guess", "unanswered")
    used(storage, "doubt", "unanswered")
    ask_each = StorageClient.ask_each

    def ask(client: StorageClient, queries: dict[str, Any], *more: Any) -> dict[str, Any]:
        if any(isinstance(one.request, wire.DelZvol) for one in queries.values()):
            return {key: NoAnswerError(f"{NAS} has not answered") for key in queries}
        return dict(ask_each(client, queries, *more))

    with monkeypatch.context() as patch:
        patch.setattr(StorageClient, "ask_each", ask)
        both = storage.rocks(*REINSTALL, "guess", "doubt")
        message = storage.refused(*REINSTALL, "guess")
    assert both.status == 1 and "no disk" not in both.err, both
    assert (
        f"whether guess keeps its disk {NAS}:tank/guess-vol is not known: {NAS} has not answered" in message
    )
    assert "repeat: rocks reinstall host vm guess" in message
    assert storage.rocks(*REINSTALL, "guess").status == 0
