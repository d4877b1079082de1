"""Complete lives of images, driven by commands. Each checks what must hold no matter which daemon died, and when."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from rocks.core.errors import RocksError
from rocks.core.image_blocks import content_of
from rocks.storage.client.importing import Destination, send_base, send_file
from rocks.storage.image.names import arriving_volume
from rocks.storage.nas.volumes import IMPORTING
from rocks.storage.wire import requests as wire
from rocks.storage.wire.names import base_snapshot, base_volume, part_tag, unfinished_tag
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.nodes import FRONTEND, HOST, NAS, OTHER_HOST, OTHER_NAS

ZVOL, VOLUME = "vm-vol", "tank/vm-vol"
MIB = 2**20
MAX_ATTEMPTS = 30


def retry(site: DrivenSite, attempt: Callable[[], object]) -> None:
    """Retry a command that fails, as an operator does."""
    for _ in range(MAX_ATTEMPTS):
        try:
            attempt()
            return
        except RocksError as error:
            last = error
            site.turn()
    raise AssertionError(f"no success after {MAX_ATTEMPTS} attempts: {last}")


def map_image(site: DrivenSite, host: str = HOST, *, sync: bool = True) -> None:
    """Map the image and wait for its copy; retried because a NAS that has just started may not export it yet."""
    retry(site, lambda: site.map(ZVOL, host, sync=sync))
    site.wait_for_state(ZVOL, "local" if sync else "remote")


def unmap_image(site: DrivenSite, nas: str = NAS) -> None:
    """Unmap the image; no host has exports, devices or sessions afterwards."""
    site.ask(wire.UnmapZvol(ZVOL), nas)
    assert site.state(ZVOL, nas) == "unmapped"
    assert site.leftovers() == []


def newest(site: DrivenSite, node: str) -> str:
    found = site.nodes[node].pools.read_history(VOLUME).newest
    return str(found.guid)


def write_volume(site: DrivenSite, content: bytes = b"first") -> None:
    """Create a volume on the NAS with two snapshots, and later writes."""
    pools = site.nas.pools
    pools.ensure_volume(VOLUME, 64 * MIB, 16384)
    fact = pools.read_volume(VOLUME)
    for number, name in enumerate(("img-1-1-20260101T000000Z", "by-hand")):
        pools.write(VOLUME, content * 5000, 20 * number * MIB)
        pools.ensure_snapshot(VOLUME, fact.guid, name, {})
    pools.write(VOLUME, b"behind the last snapshot", 60 * MIB)


def copied(site: DrivenSite, folder: Path) -> None:
    """The image is copied to a host, written back, copied to the other, then to the first, which has its old copy."""
    expected = {}
    for number, host in enumerate((HOST, OTHER_HOST, HOST)):
        map_image(site, host)
        pools = site.hosts[host].pools
        for offset, content in expected.items():
            assert pools.read(VOLUME, len(content), offset) == content
        expected[number * MIB] = b"pulled %d" % number
        pools.write(VOLUME, expected[number * MIB], number * MIB)
        site.ask(wire.PullZvol(ZVOL))
        assert site.nas.pools.read(VOLUME, 8, number * MIB) == expected[number * MIB]
        expected[32 * MIB] = b"at last %d" % number
        pools.write(VOLUME, expected[32 * MIB], 32 * MIB)
        unmap_image(site)
        assert site.nas.pools.content(VOLUME) == pools.content(VOLUME)
        assert newest(site, NAS) == newest(site, host)
    held = [one for one in site.nas.pools.read_history(VOLUME).snapshots if one.holds]
    assert [one.guid for one in held] == [newest(site, NAS)], "only the base is held"


def over_iscsi(site: DrivenSite, folder: Path) -> None:
    """The guest uses the disk on the NAS; then the image is copied."""
    map_image(site, sync=False)
    volume = site.nas.pools.read_volume(VOLUME)
    assert volume is not None and volume.is_synchronous
    (export,) = site.nas.targets.read_exports()
    assert not export.read_only and site.writers(ZVOL) == [HOST]
    site.nas.pools.write(VOLUME, b"by iSCSI", 4096)
    unmap_image(site)
    map_image(site, OTHER_HOST)
    assert site.hosts[OTHER_HOST].pools.read(VOLUME, 8, 4096) == b"by iSCSI"
    unmap_image(site)


def discarded(site: DrivenSite, folder: Path) -> None:
    """Writes to an image that is not persistent are discarded."""
    map_image(site)
    site.hosts[HOST].pools.write(VOLUME, b"stays", 4096)
    unmap_image(site)
    site.ask(wire.SetZvolAttrs(ZVOL, (("persistent", "no"),)))
    before = newest(site, NAS)
    map_image(site)
    site.hosts[HOST].pools.write(VOLUME, b"gone!", 4096)
    unmap_image(site)
    assert newest(site, NAS) == before
    for pools in (site.nas.pools, site.hosts[HOST].pools):
        assert pools.read(VOLUME, 5, 4096) == b"stays"


def removed(site: DrivenSite, folder: Path) -> None:
    """The image is removed, restored within its grace period, then destroyed; a new image gets its name."""
    map_image(site)
    site.hosts[HOST].pools.write(VOLUME, b"of the first", 4096)
    unmap_image(site)
    former = site.nas.pools.read_volume(VOLUME)
    site.ask(wire.DelZvol("tank", ZVOL, grace_seconds=10**9))
    site.ask(wire.UndeleteZvol(ZVOL))
    assert site.state(ZVOL) == "unmapped" and site.nas.pools.read(VOLUME, 12, 4096) == b"of the first"
    site.ask(wire.DelZvol("tank", ZVOL))
    site.wait_for(lambda: site.nas.service is not None and site.image(ZVOL) is None, "destroyed")
    assert site.nas.pools.read_volume(VOLUME) is None
    map_image(site)
    new = site.nas.pools.read_volume(VOLUME)
    assert new is not None and new.guid != former.guid
    assert site.hosts[HOST].pools.read(VOLUME, 12, 4096) == bytes(12)
    unmap_image(site)


def snapshots(site: DrivenSite, folder: Path) -> None:
    """One snapshot is held for a machine, another is restored; the former volume is retained. Then the image grows."""
    write_volume(site)
    tags = (unfinished_tag("before"), part_tag("before", "0" * 8, 1, 1))
    held = site.ask(wire.HoldSnapshot(ZVOL, "tank", tags))
    site.ask(wire.ReleaseSnapshot(ZVOL, "tank", "before", is_unfinished=True))
    map_image(site)
    site.hosts[HOST].pools.write(VOLUME, b"later", 0)
    unmap_image(site)
    found = site.nas.pools.read_history(VOLUME).snapshot(held["name"])
    assert found is not None and (found.guid, set(found.holds)) == (held["guid"], {tags[1]})
    site.ask(wire.ReleaseSnapshot(ZVOL, "tank", "before"))
    site.ask(wire.RestoreZvol(ZVOL, "by-hand"))
    assert site.nas.pools.read(VOLUME, 5, 0) == b"first"
    assert site.nas.pools.read(VOLUME, 24, 60 * MIB) == bytes(24)
    (former,) = [fact.name for fact in site.nas.pools.list_volumes("tank") if fact.name != VOLUME]
    assert site.nas.pools.read(former, 5, 0) == b"later"
    site.ask(wire.GrowZvol("tank", ZVOL, 128 * MIB))
    map_image(site)
    host = site.hosts[HOST]
    copy, (device,) = host.pools.read_volume(VOLUME), host.dm_devices.list()
    assert (copy.size_bytes, device.table.length_sectors * 512) == (128 * MIB, 128 * MIB)
    assert host.pools.read(VOLUME, 5, 0) == b"first"
    unmap_image(site)


def moved(site: DrivenSite, folder: Path) -> None:
    """The image moves to the other NAS with its snapshots and settings; the old volume is destroyed automatically."""
    write_volume(site)
    site.ask(wire.DelZvol("tank", ZVOL, grace_seconds=10**9))
    site.ask(wire.UndeleteZvol(ZVOL))  # now it has a record, and attributes
    site.ask(wire.SetZvolAttrs(ZVOL, (("frequency", "7200"),)))
    content, before = dict(site.nas.pools.content(VOLUME)), site.image(ZVOL)
    guids = [one.guid for one in site.nas.pools.read_history(VOLUME).snapshots]

    def move() -> None:
        if site.state(ZVOL) == "unmapped":
            site.ask(wire.AcceptZvol("tank", ZVOL, NAS, before.image_id), OTHER_NAS)
        site.ask(wire.MoveZvol(ZVOL, OTHER_NAS, "tank", 10**9))

    retry(site, move)
    there, pools = site.image(ZVOL, OTHER_NAS), site.other_nas.pools
    assert (site.state(ZVOL), there.state, there.image_id) == ("deleting", "unmapped", before.image_id)
    assert pools.content(VOLUME) == content
    assert [one.guid for one in pools.read_history(VOLUME).snapshots][: len(guids)] == guids
    assert pools.read_volume(arriving_volume("tank", ZVOL)) is None
    assert site.other_nas.service._store.attributes_of(ZVOL)["frequency"] == 7200
    site.ask(wire.DelZvol("tank", ZVOL))
    site.wait_for(lambda: site.nas.service is not None and site.image(ZVOL) is None, "destroyed")
    assert site.nas.pools.list_volumes("tank") == () and pools.content(VOLUME) == content


def imported(site: DrivenSite, folder: Path) -> None:
    """The image is imported from a file; one whose import was interrupted is not mapped."""
    file = folder / "image"
    file.write_bytes(b"raw image" * 50_000)
    size = file.stat().st_size

    def add() -> None:
        made = site.ask(wire.AddZvol("tank", ZVOL, size, importing=True))
        place = Destination(NAS, "", 0, VOLUME, made["guid"], made["size_bytes"])
        with file.open("rb") as content:
            digest = send_file(content, place, FRONTEND, lambda progress: None)  # type: ignore[arg-type]
        padded = file.read_bytes().ljust(made["size_bytes"], b"\0")
        assert digest == hashlib.blake2b(padded).hexdigest()

    for _ in range(MAX_ATTEMPTS):
        try:
            add()
            break
        except RocksError:
            fact = site.nas.pools.read_volume(VOLUME)
            if fact is not None and fact.property_value(IMPORTING) == "no":
                break  # the import is complete; its answer was lost
            site.turn()
    site.wait_for(lambda: site.nas.service is not None, "started")
    assert site.nas.pools.read(VOLUME, size) == file.read_bytes() and not site.row(ZVOL)["reason"]
    map_image(site)
    assert site.hosts[HOST].pools.read(VOLUME, size) == file.read_bytes()
    unmap_image(site)


def cloned(site: DrivenSite, folder: Path) -> None:
    """An image of the library becomes a base, of which disks are clones."""
    file = folder / "image"
    file.write_bytes(b"of the library" * 40_000)
    size = file.stat().st_size
    descriptor = os.open(file, os.O_RDONLY)
    digest = content_of(descriptor).digest
    base = f"tank/{base_volume(digest)}"
    clone = wire.NewClone(ZVOL, base_snapshot(digest), 2 * MIB)

    def make() -> None:
        made = site.ask(wire.AddBase("tank", digest, size, size, "debian"))
        if not made["complete"]:
            place = Destination(NAS, "", 0, base, made["guid"], made["size_bytes"])
            send_base(descriptor, place, FRONTEND, lambda progress: None, size)  # type: ignore[arg-type]
        assert not site.ask(wire.CloneZvols("tank", (clone,)))["missing"]

    retry(site, make)
    os.close(descriptor)
    fact, disk = site.nas.pools.read_volume(base), site.nas.pools.read_volume(VOLUME)
    assert fact is not None and fact.is_read_only and disk is not None
    assert (disk.origin, disk.size_bytes) == (f"{base}@base", 2 * MIB)
    map_image(site)
    assert site.hosts[HOST].pools.read(VOLUME, size) == file.read_bytes()
    unmap_image(site)


LIVES = (copied, over_iscsi, discarded, removed, snapshots, moved, imported, cloned)
