"""Copies that a host retains: found again after a reinstallation, and evicted when another image needs the space."""

import os
from dataclasses import replace

import pytest

from rocks.core.errors import RocksError, StateError
from rocks.core.values import BYTES_PER_GIB
from rocks.storage.host import engine
from rocks.storage.image.image import Copy, Image
from rocks.storage.image.names import HOLD_TAG
from rocks.storage.image.space import host_space
from rocks.storage.wire import requests as wire
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.nodes import HOSTS, NAS, HostNode

HOST, OTHER = HOSTS
_POOL_BYTES = 100 * BYTES_PER_GIB
_COPY_BYTES = 2_000_000


@pytest.fixture
def site(site: DrivenSite, monkeypatch: pytest.MonkeyPatch) -> DrivenSite:
    """All daemons running, no image; a copy may be evicted as soon as it is not in use."""
    monkeypatch.setattr(engine, "_QUIET_SECONDS", 0.0)
    return site


def retain_copy(site: DrivenSite, zvol: str) -> HostNode:
    """Create a written-back image; returns the host that retains a copy of it."""
    site.nas.pools.ensure_volume(f"tank/{zvol}", BYTES_PER_GIB, 16384)
    site.nas.pools.write(f"tank/{zvol}", os.urandom(_COPY_BYTES), 0)
    site.map_local(zvol)
    site.unmap(zvol)
    return site.hosts[HOST]


def image(site: DrivenSite, zvol: str) -> Image:
    found = site.image(zvol)
    assert isinstance(found, Image)
    return found


def reinstall(site: DrivenSite, host: HostNode) -> None:
    """The host loses its records, and the NAS what it knew of copies; the pools stay."""
    host.die()
    host.forget_records()
    for known in site.nas.service._engine.images():
        site.nas.service._engine.add(replace(known, copies=()))
    host.start()


def test_a_reinstalled_host_reports_its_copies(site: DrivenSite) -> None:
    """Its NAS knows the copy again, before anybody asks; the next start there transfers nothing."""
    host = retain_copy(site, "a-vol")
    guid = image(site, "a-vol").base_guid
    reinstall(site, host)
    site.wait_for(lambda: image(site, "a-vol").copies == (Copy(HOST, "tank", "clean", guid),), "known again")
    site.map("a-vol")
    assert site.row("a-vol")["state"] == "local"
    site.unmap("a-vol")


def test_a_changed_copy_with_the_property_clean_is_suspect(site: DrivenSite) -> None:
    """Something has written to it: it is never used, and never destroyed."""
    host = retain_copy(site, "b-vol")
    host.pools.write("tank/b-vol", b"by hand", 4096)
    reinstall(site, host)
    site.wait_for(lambda: image(site, "b-vol").unreturned_on() == (HOST,), "suspect")
    assert image(site, "b-vol").copies[0].kind == "suspect"
    site.map_local("b-vol")
    quarantined = [fact.name for fact in host.pools.list_volumes("tank") if "b-vol-" in fact.name]
    assert [host.pools.read(name, 7, 4096) for name in quarantined] == [b"by hand"]
    site.unmap("b-vol")


@pytest.mark.parametrize("is_reinstalled", [True, False])
def test_the_name_of_an_image_that_was_given_up_is_used_again(site: DrivenSite, is_reinstalled: bool) -> None:
    """The host has its temp-write volume still: the map of the next image of the name keeps it in quarantine."""
    host = site.hosts[HOST]
    site.map("again-vol")
    host.pools.write("tank/again-vol-temp-write", b"written", 4096)
    host.lose_power()
    if is_reinstalled:
        host.forget_records()
    host.start()
    site.ask(wire.AbandonZvol("again-vol", "its host has burned"))
    site.wait_for_state("again-vol", "unmapped")
    site.ask(wire.DelZvol("tank", "again-vol", force=True))
    site.wait_for(lambda: site.image("again-vol") is None, "gone")
    site.map_local("again-vol")
    found = [fact.name for fact in host.pools.list_volumes("tank") if "quarantine" in fact.name]
    assert [host.pools.read(name, 7, 4096) for name in found] == [b"written"]
    assert all(name.startswith("tank/again-vol-temp-write-") for name in found)
    site.unmap("again-vol")
    assert site.leftovers() == [f"volume {found[0]}"]


def test_a_disk_in_use_of_an_image_that_was_given_up_is_not_removed(site: DrivenSite) -> None:
    """The next image of the name is not mapped there while a guest uses the former's device."""
    host = site.map_local("again-vol")
    host.kernel.devices["again-vol-snap"].holders += 1
    site.given_up.add("again-vol")
    site.ask(wire.AbandonZvol("again-vol", "its host has burned"))
    site.wait_for_state("again-vol", "unmapped")
    site.ask(wire.DelZvol("tank", "again-vol", force=True))
    site.wait_for(lambda: site.image("again-vol") is None, "gone")
    with pytest.raises(RocksError, match="in use by a running guest"):
        site.map("again-vol")
    assert host.dm_devices.read("again-vol-snap") is not None


def fill_pool(host: HostNode, missing_bytes: int) -> None:
    """Fill the pool until it lacks this much for a small image."""
    free_after = host_space(_POOL_BYTES, BYTES_PER_GIB, 0) - missing_bytes
    free = host.pools.read_pool("tank").free_bytes
    host.pools.ensure_volume("tank/other", 95 * BYTES_PER_GIB, 16384, 0)
    fact = host.pools.read_volume("tank/other")
    host.pools.ensure_reserved("tank/other", fact.guid, free - free_after)


def test_the_oldest_copy_is_evicted_for_another_image(site: DrivenSite) -> None:
    """One is enough; the newer one stays. The image whose copy has gone is whole on the NAS."""
    host = retain_copy(site, "first-vol")
    retain_copy(site, "second-vol")
    fill_pool(host, _COPY_BYTES // 2)
    site.map_local("new-vol")
    left = {fact.name for fact in host.pools.list_volumes("tank")}
    assert "tank/first-vol" not in left and "tank/second-vol" in left
    site.unmap("new-vol")
    other = host.pools.read_volume("tank/other")
    host.pools.ensure_reserved("tank/other", other.guid, 0)
    site.map_local("first-vol")
    assert host.pools.content("tank/first-vol") == site.nas.pools.content("tank/first-vol")
    site.unmap("first-vol")


def test_a_copy_in_use_or_with_unsaved_changes_is_not_evicted(site: DrivenSite) -> None:
    """The free space is then insufficient, and the map's error states the sizes."""
    host = retain_copy(site, "mapped-vol")
    retain_copy(site, "changed-vol")
    site.map_local("mapped-vol")
    host.pools.write("tank/changed-vol", b"by hand", 4096)
    fill_pool(host, _COPY_BYTES // 2)
    try:
        site.map("new-vol")
    except StateError as error:
        assert "are needed" in str(error)
    left = {fact.name for fact in host.pools.list_volumes("tank")}
    assert {"tank/mapped-vol", "tank/changed-vol"} <= left
    assert host.pools.read("tank/changed-vol", 7, 4096) == b"by hand"


def evicted_for_another(site: DrivenSite, host: HostNode, volume: str) -> bool:
    """Whether the copy is evicted when another image needs the space."""
    fill_pool(host, _COPY_BYTES // 2)
    try:
        site.map("new-vol")
    except RocksError:
        pass  # without the copy's space there is too little
    return host.pools.read_volume(volume) is None


def test_the_nas_is_asked_for_the_snapshot_before_a_copy_is_evicted(site: DrivenSite) -> None:
    """Its record says that it has the copy, but the snapshot has gone since: the copy is the only one."""
    host = retain_copy(site, "first-vol")
    guid = image(site, "first-vol").copies[0].guid
    for one in site.nas.pools.read_history("tank/first-vol").snapshots:
        if one.guid == guid:
            site.nas.pools.ensure_released("tank/first-vol", one.name, one.guid, HOLD_TAG)
            site.nas.pools.ensure_snapshot_gone("tank/first-vol", one.name, one.guid)
    assert not evicted_for_another(site, host, "tank/first-vol")
    assert image(site, "first-vol").copies[0].kind == "clean", "its record"


@pytest.mark.parametrize("by_command", [False, True])
def test_no_request_begins_while_a_copy_is_destroyed(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch, by_command: bool
) -> None:
    """A start would get a device on a copy whose snapshots are being destroyed. It begins afterwards."""
    host = retain_copy(site, "first-vol")
    engine, begun = host.service._workers, list[bool]()
    destroy = host.pools.ensure_volume_gone

    def destroy_slowly(volume: str, *values: object) -> object:
        if volume == "tank/first-vol":
            before = len(host.jobs.waiting)
            engine._wake("first-vol")  # a request has come
            begun.append(len(host.jobs.waiting) > before)
        return destroy(volume, *values)

    monkeypatch.setattr(host.pools, "ensure_volume_gone", destroy_slowly)
    if by_command:
        site.ask(wire.DelCopy("tank/first-vol"), HOST)
    else:
        assert evicted_for_another(site, host, "tank/first-vol")
    assert begun == [False] and host.pools.read_volume("tank/first-vol") is None
    site.turn()
    assert not engine._busy and not engine._again


def quarantine(host: HostNode, zvol: str) -> str:
    """Rename the host's copy as for quarantine; returns the new name."""
    fact = host.pools.read_volume(f"tank/{zvol}")
    name = f"tank/{zvol}-quarantine-1"
    host.pools.ensure_renamed(fact.name, fact.guid, name)
    return name


def test_a_quarantined_volume_goes_when_its_nas_has_all_of_it(site: DrivenSite) -> None:
    host = retain_copy(site, "first-vol")
    assert evicted_for_another(site, host, quarantine(host, "first-vol"))


@pytest.mark.parametrize("difference", ["written", "removed on its NAS", "there is space"])
def test_a_quarantined_volume_stays_otherwise(site: DrivenSite, difference: str) -> None:
    """It has data of its own; its NAS has removed the image; or there is space."""
    host = retain_copy(site, "first-vol")
    name = quarantine(host, "first-vol")
    if difference == "written":
        host.pools.write(name, b"by hand", 4096)
    elif difference == "removed on its NAS":
        site.ask(wire.DelZvol("tank", "first-vol", grace_seconds=3600))
    else:
        site.map("new-vol")
        assert host.pools.read_volume(name) is not None
        return
    assert not evicted_for_another(site, host, name)


def test_copies_are_listed_and_removed(site: DrivenSite) -> None:
    """Without force only what its NAS has; the NAS does not wait for changes that were destroyed."""
    host = retain_copy(site, "first-vol")
    retain_copy(site, "second-vol")
    retain_copy(site, "used-vol")
    site.map("used-vol")
    name = quarantine(host, "first-vol")
    host.pools.write("tank/second-vol", b"by hand", 4096)
    rows = {row["volume"]: row for row in site.ask(wire.ListCopies(), HOST)["body"]}
    assert {volume: row["kind"] for volume, row in rows.items()} == {
        name: "quarantined",
        "tank/second-vol": "suspect",
    }
    assert all(row["size_bytes"] > 0 and row["created"] and row["nas"] == NAS for row in rows.values())
    with pytest.raises(StateError, match="no unused copy tank/used-vol"):
        site.ask(wire.DelCopy("tank/used-vol", force=True), HOST)
    with pytest.raises(StateError, match=f"{NAS} does not confirm that it has all of it"):
        site.ask(wire.DelCopy("tank/second-vol"), HOST)
    site.ask(wire.DelCopy("tank/second-vol", force=True), HOST)
    site.ask(wire.DelCopy(name), HOST)
    assert site.ask(wire.ListCopies(), HOST)["body"] == []
    site.wait_for(lambda: image(site, "second-vol").copies == (), "the NAS knows")
