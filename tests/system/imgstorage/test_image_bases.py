"""Disks on a NAS that are made from an image of the library: stored once, and cloned.

The hosts of these tests are played, as in `test_storage_vms`.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from rocks.core.values import BYTES_PER_GIB
from rocks.fleet.wire.requests import StartDomain
from rocks.machine import converge
from rocks.storage import limits
from rocks.storage.nas import bases, volumes
from rocks.storage.stream import frames as stream_lines
from rocks.storage.volumes import bases as image_bases
from rocks.storage.wire import requests as wire
from rocks.storage.wire.names import base_volume
from tests.system.imgstorage.image_site import NAS
from tests.system.imgstorage.storage_site import (
    END,
    HOST,
    START,
    STOP,
    PlayedHosts,
    Storage,
    interrupt,
)
from tests.waiting import wait_until

SIZE, DATA = 40_000_000, 3_000_000
"""Of the image: a disk with data at its beginning, in the middle and at its end."""


def add_image(storage: Storage, library: Path, name: str) -> tuple[bytes, str]:
    """An image of a content of its own, and its digest."""
    content = bytearray(SIZE)
    content[:DATA] = os.urandom(DATA)
    content[SIZE // 2 : SIZE // 2 + 5] = content[-5:] = b"guest"
    file = library.parent / f"{name}.raw"
    file.write_bytes(content)
    storage.done("add", "image", name, f"file={file}")
    return bytes(content), str(image_row(storage, name)["digest"])


def image_row(storage: Storage, name: str) -> dict[str, Any]:
    (found,) = rows(storage, "list", "image", name)
    return found


def rows(storage: Storage, *line: str) -> list[dict[str, Any]]:
    return [row for one in json.loads(storage.done(*line, "json=yes")) for row in one["image"]]


def add_machine(storage: Storage, name: str, image: str) -> str:
    """A machine whose disk the NAS makes from the image."""
    storage.add_vm(name)
    storage.done("set", "host", "attr", name, "vm_image", image)
    return name


def start(storage: Storage, vm: str) -> str:
    """Start the machine; returns what is printed beside the maps."""
    ended = storage.succeeded(*START, vm)
    return ended.err


def run_once(storage: Storage, vm: str) -> None:
    """Start the machine, stop it, and write its changes back."""
    start(storage, vm)
    storage.done(*STOP, vm, END)


def content_of(storage: Storage, volume: str) -> bytes:
    """The first bytes of a volume, as many as the image has."""
    return storage.images.nas.pools.read(f"tank/{volume}", SIZE)


def wait_for_no_base(storage: Storage, digest: str) -> None:
    """Until the NAS has destroyed what a transfer that failed has written."""
    wait_until(lambda: storage.images.nas.pools.read_volume(f"tank/{base_volume(digest)}") is None)


def test_two_machines_share_one_base(storage: Storage, library: Path) -> None:
    """The image is sent once; a disk has the machine's size; what one machine writes, nobody else reads."""
    content, digest = add_image(storage, library, "debian")
    base = base_volume(digest)
    first, second = (add_machine(storage, f"pair-{number}", "debian") for number in (1, 2))
    assert start(storage, first) == f"the image debian, 3.0 MiB, is stored on {NAS}:tank\n"
    assert start(storage, second) == ""
    pools = storage.images.nas.pools
    for name in (first, second):
        fact = pools.read_volume(f"tank/{name}-vol")
        assert fact is not None and (fact.origin, fact.size_bytes) == (f"tank/{base}@base", BYTES_PER_GIB)
        assert content_of(storage, f"{name}-vol") == content
    storage.images.wait_for_state(f"{first}-vol", "local")
    storage.images.hosts[HOST].pools.write(f"tank/{first}-vol", b"written", 4096)
    storage.done(*STOP, first, END)
    assert pools.read(f"tank/{first}-vol", 7, 4096) == b"written"
    assert content_of(storage, f"{second}-vol") == content_of(storage, base) == content
    assert content_of(storage, f"{first}-vol")[:4096] == content[:4096]
    storage.done(*STOP, second, END)
    assert start(storage, first) == ""
    assert pools.read(f"tank/{first}-vol", 7, 4096) == b"written", "what exists, stays"
    storage.done(*STOP, first, END)

    (row,) = rows(storage, "list", "image", "debian", "bases=yes")
    assert (row["nas"], row["pool"], row["volume"], row["clones"], row["state"]) == (
        NAS,
        "tank",
        base,
        2,
        "complete",
    )
    remove = ("remove", "host", "storageimg", NAS, "tank")
    refusal = storage.refused(*remove, base)
    assert "2 disks are clones of it (tank/pair-1-vol, tank/pair-2-vol)" in refusal
    for name in (first, second):
        storage.done(*remove, f"{name}-vol", "now=yes")
    storage.done(*remove, base)
    assert not [
        fact for fact in pools.list_volumes("tank") if "pair" in fact.name or fact.name == f"tank/{base}"
    ]


def test_an_image_that_is_not_what_was_imported_makes_no_disk(storage: Storage, library: Path) -> None:
    """The NAS computes the digest of what it has; a later attempt with the right content uses nothing of it."""
    content, digest = add_image(storage, library, "damaged")
    file = library / "damaged.img"
    with file.open("r+b") as image:
        image.write(b"x" * 10)
    vm = add_machine(storage, "victim", "damaged")
    message = storage.rocks(*START, vm).err
    assert (
        "is not the image that the library has the record of" in message
        and "rocks check image damaged" in message
    )
    assert storage.images.nas.pools.read_volume("tank/victim-vol") is None
    wait_for_no_base(storage, digest)
    with file.open("r+b") as image:
        image.write(content[:10])
    start(storage, vm)
    assert content_of(storage, "victim-vol") == content == content_of(storage, base_volume(digest))
    storage.done(*STOP, vm, END)


def test_a_disk_that_exists_needs_no_library(storage: Storage, library: Path) -> None:
    """The machine starts though its image is gone; another, whose disk would have to be made, does not."""
    add_image(storage, library, "gone")
    vm = add_machine(storage, "settled", "gone")
    run_once(storage, vm)
    other = add_machine(storage, "unsettled", "gone")
    for file in library.glob("gone.*"):
        file.unlink()
    ended = storage.rocks(*START, vm, other)
    assert ended.status == 3
    assert "unsettled is not started: its disk has to be made: there is no image gone" in ended.err
    assert storage.images.row("settled-vol")["remotehost"] == HOST
    storage.done(*STOP, vm, END)
    assert storage.images.nas.pools.read_volume("tank/unsettled-vol") is None


def test_a_disk_smaller_than_its_image_is_not_made(storage: Storage, library: Path) -> None:
    file = library.parent / "large.raw"
    with file.open("wb") as image:
        image.truncate(3_000_000_000)
        image.write(b"boot")
    storage.done("add", "image", "large", f"file={file}")
    vm = add_machine(storage, "small", "large")
    message = "the disk of small has 1 GiB, and the image large is a disk of 2.8 GiB"
    assert message in storage.rocks(*START, vm).err
    assert storage.images.nas.pools.read_volume("tank/small-vol") is None


def test_a_full_pool_gets_no_base(storage: Storage, library: Path) -> None:
    """The message has both numbers, and nothing stays; what a killed transfer has left counts as free."""
    _, digest = add_image(storage, library, "toolarge")
    vm = add_machine(storage, "waiting", "toolarge")
    pool = storage.images.nas.pools.fake.pools["tank"]
    before = pool.size_bytes
    storage.images.nas.pools.leave_free("tank", 1_000_000)
    try:
        message = storage.rocks(*START, vm).err
    finally:
        pool.size_bytes = before
    assert "the pool tank has 1.0 MiB free, and the image toolarge needs 3.3 MiB" in message, message
    pools, base = storage.images.nas.pools, f"tank/{base_volume(digest)}"
    assert pools.read_volume(base) is None
    pools.ensure_volume(base, SIZE - SIZE % 16384, 16384)
    pools.write(base, os.urandom(DATA))
    left = pools.read_volume(base)
    pools.ensure_snapshot(base, left.guid, "nightly", {})
    pools.leave_free("tank", 1_000_000)
    try:
        made = storage.images.ask(wire.AddBase("tank", digest, SIZE, DATA, "toolarge"))
    finally:
        pool.size_bytes = before
    assert made["complete"] is False and made["guid"] != left.guid
    run_once(storage, vm)


@pytest.mark.parametrize("first", ["image", "volume"])
def test_a_disk_of_the_former_image_starts_no_machine(
    storage: Storage, library: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """The first start ended when its disk was there; the machine got another image meanwhile."""
    golden, vm = f"golden-{first}", f"vm-first-{first}"
    storage.done("set", "host", "attr", HOST, "vm_image_directory", "/images")
    add_image(storage, library, f"deb-{first}")
    storage.done("add", "host", "storageimg", NAS, "tank", golden, "size=1")
    images = [f"deb-{first}", f"volume:{golden}"][:: 1 if first == "image" else -1]
    add_machine(storage, vm, images[0])
    create = image_bases._make

    def created_then_interrupted(*arguments: Any) -> None:
        create(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(image_bases, "_make", created_then_interrupted)
        assert storage.rocks(*START, vm).status != 0
    storage.done("set", "host", "attr", vm, "vm_image", images[1])
    message = storage.rocks(*START, vm).err
    assert f"ZVol {vm}-vol in tank is an unused disk of another image" in message
    storage.done(*message.partition("remove it (rocks ")[2].partition(")")[0].split())
    run_once(storage, vm)


def test_a_removed_image_leaves_only_bases_in_use(storage: Storage, library: Path) -> None:
    """Without clones the base goes with the image; with them it is named, and goes by the command that is named."""
    _, unused = add_image(storage, library, "unused")
    vm = add_machine(storage, "brief", "unused")
    run_once(storage, vm)
    storage.done("remove", "host", "attr", vm, "vm_image")
    ended = storage.rocks("remove", "image", "unused")
    base = base_volume(unused)
    assert ended.status == 0
    assert (
        f"{NAS}:tank/{base} stays, with the image unused: tank/{base} is not destroyed: 1 disks are"
        in ended.err
    )
    storage.done("remove", "host", "storageimg", NAS, "tank", "brief-vol", "now=yes")
    assert f"rocks remove host storageimg {NAS} tank {base}" in ended.err
    storage.done("remove", "host", "storageimg", NAS, "tank", base)
    assert storage.images.nas.pools.read_volume(f"tank/{base}") is None
    _, digest = add_image(storage, library, "again")
    vm = add_machine(storage, "brief-again", "again")
    run_once(storage, vm)
    storage.done("remove", "host", "storageimg", NAS, "tank", f"{vm}-vol", "now=yes")
    storage.done("remove", "host", "attr", vm, "vm_image")
    assert storage.done("remove", "image", "again") == ""
    assert storage.images.nas.pools.read_volume(f"tank/{base_volume(digest)}") is None


def test_a_frontend_that_cannot_ask_names_the_nas(storage: Storage, library: Path, certified: Path) -> None:
    """Its base may be on each NAS; a site without one gets no warning."""
    for name in ("unasked", "without-nas"):
        add_image(storage, library, name)
    (certified / "node.pem").unlink()
    ended = storage.succeeded("remove", "image", "unasked")
    assert ended.err.startswith(
        "Warning: whether NASes store the image is not known: head has no certificate in "
    )
    storage.cluster.done("remove", "host", NAS)
    assert storage.succeeded("remove", "image", "without-nas").err == ""


def test_the_machine_gets_its_name_by_a_seed(
    storage: Storage, library: Path, monkeypatch: pytest.MonkeyPatch, hosts: PlayedHosts
) -> None:
    """Its disk for cloud-init is a file of the host, in its image directory; without one the machine is not started."""
    add_image(storage, library, "seeded")
    vm = add_machine(storage, "named", "seeded")
    asked: list[StartDomain] = []

    def perform(database: Any, fleet: Any, operations: Any, progress: object = None) -> Any:
        asked.extend(operation for requested in operations.values() for operation in requested)
        return hosts.perform_operations(database, fleet, operations, progress)

    monkeypatch.setattr(converge, "perform_operations", perform)
    start(storage, vm)
    (operation,) = asked
    assert (operation.seed.path, operation.seed.directory) == ("/images/named.seed", "/images")
    assert "/images/named.seed" in operation.xml and "/dev/mapper/named-vol-snap" in operation.xml
    storage.done(*STOP, vm, END)
    storage.done("remove", "host", "attr", HOST, "vm_image_directory")
    storage.cluster.change("DELETE FROM partitions")
    message = storage.rocks(*START, vm).err
    assert f"rocks set host attr {HOST} vm_image_directory /FOLDER" in message


def test_a_start_that_is_interrupted_in_the_transfer_is_repeated(
    storage: Storage, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection ends in the middle: nothing stays in the pool, no disk is made, and the next start sends."""
    content, digest = add_image(storage, library, "cut")
    vm = add_machine(storage, "cut-off", "cut")

    with monkeypatch.context() as patch:
        patch.setattr(image_bases, "transfer_line", interrupt)
        assert storage.rocks(*START, vm).status not in (0, 1)
    wait_for_no_base(storage, digest)
    assert storage.images.nas.pools.read_volume("tank/cut-off-vol") is None
    assert "is stored on" in start(storage, vm)
    assert content_of(storage, "cut-off-vol") == content == content_of(storage, base_volume(digest))
    storage.done(*STOP, vm, END)


def test_the_nas_says_that_it_still_reads(
    storage: Storage, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The frontend waits through these lines: else a large image would end its connection by silence."""
    content, digest = add_image(storage, library, "silent")
    vm = add_machine(storage, "patient", "silent")
    lines: list[object] = []
    send_line = bases.send_line

    def counted(writer: Any, fields: Any) -> None:
        lines.append(fields)
        send_line(writer, fields)

    for module in (bases, stream_lines):
        monkeypatch.setattr(module, "send_line", counted)
    monkeypatch.setattr(volumes, "_FLUSH_BYTES", 2**20)
    monkeypatch.setattr(limits, "ALIVE_SECONDS", -1.0)
    start(storage, vm)
    assert len(lines) > 600 and lines[0] == {"ready": True} and lines[-1] == {"complete": True}
    assert content_of(storage, "patient-vol") == content == content_of(storage, base_volume(digest))
    storage.done(*STOP, vm, END)


def test_a_dry_run_of_the_removal_of_a_base(storage: Storage, library: Path) -> None:
    """A base is no image of the NAS's list: it is looked for among the bases."""
    _, digest = add_image(storage, library, "dry")
    storage.images.ask(wire.AddBase("tank", digest, SIZE, DATA, "dry"))
    remove = ("remove", "host", "storageimg", NAS, "tank")
    ended = storage.rocks(*remove, base_volume(digest), "dry-run=yes")
    assert ended.status == 0 and f"would destroy the image {base_volume(digest)}" in ended.out + ended.err, (
        ended
    )
    assert "there is no base" in storage.refused(*remove, base_volume("0" * 64), "dry-run=yes")
    storage.done(*remove, base_volume(digest))


def test_a_disk_that_is_lost_is_not_made_anew(storage: Storage, library: Path) -> None:
    """Its volume was renamed by hand: the start says so, and nothing takes its name; renamed again, it goes on."""
    add_image(storage, library, "lost")
    vm = add_machine(storage, "renamed", "lost")
    run_once(storage, vm)
    pools = storage.images.nas.pools
    fact = pools.read_volume("tank/renamed-vol")
    pools.ensure_renamed(fact.name, fact.guid, "tank/elsewhere")
    message = storage.rocks(*START, vm).err
    assert "does not exist, and no empty one replaces it" in message, message
    assert pools.read_volume("tank/renamed-vol") is None
    pools.ensure_renamed("tank/elsewhere", fact.guid, "tank/renamed-vol")
    storage.rocks("clean", "host", "storagemap", NAS, "renamed-vol")
    run_once(storage, vm)


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
