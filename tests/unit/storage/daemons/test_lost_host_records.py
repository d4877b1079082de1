"""A host loses its records or gets old ones back: its volumes say what they are of, and no write of a guest is lost.

At any moment of a life, and of a NAS: `test_random_lives.py`.
"""

import copy
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from rocks.core.errors import IncoherentError, RocksError, StateError, ToolError
from rocks.core.values import BYTES_PER_GIB
from rocks.storage.host import devices
from rocks.storage.store.host import CopyRecord
from rocks.storage.wire import requests as wire
from tests.fakes.zfs import Pool
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.guests import Guest, content_of
from tests.unit.storage.daemons.nodes import HOSTS, HostNode
from tests.unit.storage.daemons.test_lost_records import ZVOL, at_nas, site

__all__ = ["site"]

HOST, OTHER = HOSTS


def reinstall(site: DrivenSite, name: str) -> None:
    """Reinstall the host over its pool: records, sessions, devices and the guest are gone."""
    host = site.hosts[name]
    host.lose_power()
    host.forget_records()
    host.start()


def test_a_blocked_image_of_a_reinstalled_host_is_saved(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pool came late, so the host knew nothing when it was asked: `clean` saves what is there."""
    host = site.map_local(ZVOL)
    host.pools.write(f"tank/{ZVOL}", b"first", 4096)
    monkeypatch.setattr("rocks.storage.host.service.recover_records", lambda *_: frozenset())
    reinstall(site, HOST)
    with pytest.raises(IncoherentError, match="PullCopy is not possible when it is none"):
        site.ask(wire.PullZvol(ZVOL))
    site.ask(wire.RetryZvol(ZVOL))
    site.wait_for_state(ZVOL, "unmapped")
    assert at_nas(site, b"first") and site.leftovers() == []


def used_before(site: DrivenSite, folder: Path) -> HostNode:
    """Map the image and unmap it; returns its host, whose records of then are in a backup."""
    host = site.map_local(ZVOL)
    site.unmap(ZVOL)
    back_up(host, folder)
    return host


def back_up(host: HostNode, folder: Path) -> None:
    """Copy its records."""
    host.die()
    shutil.copytree(host.store.parent, folder / "backup")
    host.start()


def backing_up_at(host: HostNode, stage: str, folder: Path) -> Callable[[CopyRecord], None]:
    """Copies the records of the host just before they have that stage."""

    def publish(record: CopyRecord) -> None:
        if record.known.stage == stage and not (folder / "backup").exists():
            shutil.copytree(host.store.parent, folder / "backup")

    return publish


def restore(host: HostNode, folder: Path) -> None:
    """Restart its daemon with those records."""
    host.die()
    shutil.rmtree(host.store.parent)
    shutil.copytree(folder / "backup", host.store.parent)
    host.start()


@pytest.mark.parametrize("persistent", ["yes", "no"])
def test_a_host_with_older_records_ends_no_image_below_a_guest(
    site: DrivenSite, tmp_path: Path, persistent: str
) -> None:
    """The records are of the image's last rest, and its guest runs again: what it writes is not left behind."""
    host = used_before(site, tmp_path)
    site.map_local(ZVOL)
    host.kernel.devices[f"{ZVOL}-snap"].holders = 1
    site.ask(wire.SetZvolAttrs(ZVOL, (("persistent", persistent),)))
    restore(host, tmp_path)
    with pytest.raises(StateError, match="stays on vmc-0-0: .* is in use by a running guest"):
        site.unmap(ZVOL)
    assert site.state(ZVOL) != "unmapped"
    host.pools.write(f"tank/{ZVOL}", b"later", 4096)
    host.kernel.devices[f"{ZVOL}-snap"].holders = 0
    site.unmap(ZVOL)
    site.wait_for_state(ZVOL, "unmapped")
    assert at_nas(site, b"later") == (persistent == "yes") and site.leftovers() == []


def test_an_image_is_not_free_below_a_guest_that_no_record_knows(
    site: DrivenSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The NAS has no records and the host older ones, and its pool came late: no other host gets the image before the
    guest has ended.
    """
    monkeypatch.setattr("rocks.storage.host.service.recover_records", lambda *_: frozenset())
    host = used_before(site, tmp_path)
    site.map_local(ZVOL)
    host.kernel.devices[f"{ZVOL}-snap"].holders = 1
    restore(host, tmp_path)
    site.lose_records()
    site.wait_for(lambda: "is in use by a running guest" in str(site.row(ZVOL)["reason"]), "reason")
    assert site.state(ZVOL) == "blocked"
    host.pools.write(f"tank/{ZVOL}", b"later", 4096)
    host.kernel.devices[f"{ZVOL}-snap"].holders = 0
    site.wait_for_state(ZVOL, "unmapped")
    assert at_nas(site, b"later") and site.leftovers() == []


@pytest.mark.parametrize("are_lost", [True, False], ids=["no records", "older records"])
@pytest.mark.parametrize("is_blocked", [False, True], ids=["asked to copy", "cleaned"])
def test_writes_over_the_disk_of_the_nas_outlive_the_records_of_their_host(
    site: DrivenSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, are_lost: bool, is_blocked: bool
) -> None:
    """The host loses them while the image is not copied yet: the writes are merged and written back.

    With a NAS that has lost its records, too, the host gets its present secrets first.
    """
    host, guest = used_before(site, tmp_path), Guest(site)
    monkeypatch.setattr(devices, "wait_seconds", lambda seconds: guest.merge_one())
    site.nas.pools.write(f"tank/{ZVOL}", b"newer", 0)  # the host's copy is an older one
    site.map(ZVOL)
    assert site.state(ZVOL) == "mapped" and guest.start(host)
    guest.write(4)
    guest.stop()
    host.lose_power()
    host.forget_records()
    if not are_lost:
        shutil.copytree(tmp_path / "backup", host.store.parent, dirs_exist_ok=True)
    host.start()
    if is_blocked:
        site.lose_records()
    site.wait_for_state(ZVOL, "local")
    site.unmap(ZVOL)
    assert site.nas.pools.read(f"tank/{ZVOL}", 5, 0) == b"newer"
    assert site.nas.pools.read(f"tank/{ZVOL}", 2, 4 * 8192) == b"v1" and site.leftovers() == []


@pytest.mark.parametrize(
    ("backed_up_in", "then"),
    [
        ("mapped", "mapped"),
        ("local before", "mapped"),
        ("mapped", "local"),
        ("local before", "local"),
        ("merging", "local"),
    ],
)
def test_a_host_with_records_of_an_earlier_stage_gives_the_guest_what_it_has_written(
    site: DrivenSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backed_up_in: str, then: str
) -> None:
    """It also loses power: its devices are made from what its volumes say, and the NAS gets all of it."""
    host, guest = site.hosts[HOST], Guest(site)
    monkeypatch.setattr(devices, "wait_seconds", lambda seconds: guest.merge_one())
    if backed_up_in == "local before":
        site.map_local(ZVOL)
        back_up(host, tmp_path)
        site.unmap(ZVOL)
        site.nas.pools.write(f"tank/{ZVOL}", b"newer", 6 * 8192)  # the host's copy is an older one
    site.map(ZVOL)
    assert guest.start(host)
    guest.write(0)
    if backed_up_in == "mapped":
        back_up(host, tmp_path)
    if backed_up_in == "merging":
        monkeypatch.setattr(
            host.service._workers._engine, "_publish", backing_up_at(host, "linear", tmp_path)
        )
    if then == "local":
        site.wait_for_state(ZVOL, "local")
    guest.write(4)
    guest.stop()
    host.lose_power()
    restore(host, tmp_path)
    if guest.start(host):
        guest.check()
        guest.stop()
    with suppress(RocksError):
        site.unmap(ZVOL)
    if site.state(ZVOL) == "blocked":
        site.ask(wire.RetryZvol(ZVOL))
    site.wait_for_state(ZVOL, "unmapped")
    assert content_of(site.nas.pools, f"tank/{ZVOL}") == guest.expected and site.leftovers() == []


def test_a_host_with_records_from_before_an_unmap_has_no_device(site: DrivenSite, tmp_path: Path) -> None:
    """What a guest wrote to it would be left behind: the NAS has the final snapshot."""
    host = site.map_local(ZVOL)
    back_up(host, tmp_path)
    site.unmap(ZVOL)
    host.lose_power()
    restore(host, tmp_path)
    assert site.writers(ZVOL) == [] and site.leftovers() == []


@pytest.mark.parametrize(
    ("is_copied", "change"), [(True, "ensure_rolled_back"), (False, "ensure_volume_gone")]
)
def test_a_request_of_an_earlier_grant_that_comes_back_with_the_records_is_not_done(
    site: DrivenSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_copied: bool, change: str
) -> None:
    """The backup of the host is of the moment at which it discarded its writes: those of now stay."""
    host, guest = site.hosts[HOST], Guest(site)
    monkeypatch.setattr(devices, "wait_seconds", lambda seconds: guest.merge_one())
    make = getattr(host.pools, change)

    def backing_up(*values: object, **more: object) -> object:
        shutil.copytree(host.store.parent, tmp_path / "backup")
        return make(*values, **more)

    def run_guest() -> None:
        site.map(ZVOL)
        if is_copied:
            site.wait_for_state(ZVOL, "local")
        assert guest.start(host)
        guest.write(4)
        guest.stop()

    run_guest()
    site.ask(wire.SetZvolAttrs(ZVOL, (("persistent", "no"),)))
    with monkeypatch.context() as patch:
        patch.setattr(host.pools, change, backing_up)
        site.unmap(ZVOL)
    site.ask(wire.SetZvolAttrs(ZVOL, (("persistent", "yes"),)))
    guest.expected = content_of(site.nas.pools, f"tank/{ZVOL}")
    run_guest()
    host.lose_power()
    restore(host, tmp_path)
    site.wait_for_state(ZVOL, "local")
    site.unmap(ZVOL)
    assert content_of(site.nas.pools, f"tank/{ZVOL}") == guest.expected and site.leftovers() == []


def local_in_second_pool(site: DrivenSite) -> HostNode:
    """Map the image into the host's pool `data`; returns the host. Its own pool `tank` has a replica of it."""
    host = site.hosts[HOST]
    pools = host.pools.fake.pools
    pools["data"] = Pool("data", 100 * BYTES_PER_GIB)
    initiator = str(site.ask(wire.ListInitiator(), HOST)["body"])
    site.ask(wire.MapZvol("tank", ZVOL, HOST, "data", 1, True, initiator))
    site.wait_for_state(ZVOL, "local")
    replica = copy.deepcopy(pools["data"].volumes[f"data/{ZVOL}"])
    replica.name = f"tank/{ZVOL}"
    pools["tank"].volumes[replica.name] = replica
    host.pools.write(f"data/{ZVOL}", b"later", 4096)
    return host


def test_an_image_in_a_second_pool_is_local_again(site: DrivenSite) -> None:
    """Its copy says in which pool it was made, and so does its replica."""
    local_in_second_pool(site)
    reinstall(site, HOST)
    assert site.writers(ZVOL) == [HOST]
    site.unmap(ZVOL)
    assert at_nas(site, b"later")


def test_the_copy_of_another_pool_is_not_taken_for_that_of_the_guest(site: DrivenSite) -> None:
    """The host has lost its records, and its own pool has a replica: the guest runs on that, as a copy of an earlier
    release does not name its pool. What the message says helps.
    """
    host = local_in_second_pool(site)
    pools = host.pools.fake.pools
    for pool in ("data", "tank"):
        del pools[pool].volumes[f"{pool}/{ZVOL}"].properties["imgstore:pool"]
    reinstall(site, HOST)
    host.pools.write(f"tank/{ZVOL}", b"other", 4096)
    with pytest.raises(
        IncoherentError, match="in the pool tank, not in data: stop its machine, leave only the copy"
    ):
        site.unmap(ZVOL)
    assert site.state(ZVOL) == "blocked" and site.writers(ZVOL) == [HOST]
    assert host.pools.read(f"tank/{ZVOL}", 5, 4096) == b"other"
    del host.kernel.devices[f"{ZVOL}-snap"], pools["tank"].volumes[f"tank/{ZVOL}"]
    host.die()
    host.start()
    assert site.writers(ZVOL) == [HOST]
    site.ask(wire.RetryZvol(ZVOL))
    site.wait_for_state(ZVOL, "unmapped")
    assert at_nas(site, b"later") and site.leftovers() == []


def test_a_copy_of_an_earlier_release_in_a_second_pool_is_saved_by_a_command(site: DrivenSite) -> None:
    """It names no pool, so that its host does not look for it there: the next write-back says what to run."""
    host = local_in_second_pool(site)
    pools = host.pools.fake.pools
    del (
        pools["tank"].volumes[f"tank/{ZVOL}"],
        pools["data"].volumes[f"data/{ZVOL}"].properties["imgstore:pool"],
    )
    reinstall(site, HOST)
    assert site.writers(ZVOL) == []
    with pytest.raises(
        IncoherentError, match=f"`rocks clean host storagemap nas-0-0 {ZVOL}` goes on with what"
    ):
        site.ask(wire.PullZvol(ZVOL))
    site.ask(wire.RetryZvol(ZVOL))
    site.wait_for_state(ZVOL, "unmapped")
    assert at_nas(site, b"later") and site.leftovers() == []


def test_a_replica_is_not_opened_when_the_copy_is_renamed(site: DrivenSite) -> None:
    """A person has renamed the copy, which names no pool as of an earlier release: the replica has old content."""
    host = site.map_local(ZVOL)
    pools = host.pools.fake.pools
    del pools["tank"].volumes[f"tank/{ZVOL}"].properties["imgstore:pool"]
    pools["backup"] = Pool("backup", 100 * BYTES_PER_GIB)
    replica = copy.deepcopy(pools["tank"].volumes[f"tank/{ZVOL}"])
    replica.name = f"backup/{ZVOL}"
    pools["backup"].volumes[replica.name] = replica
    host.pools.write(f"tank/{ZVOL}", b"later", 4096)
    host.lose_power()
    renamed = pools["tank"].volumes.pop(f"tank/{ZVOL}")
    host.start()
    assert site.writers(ZVOL) == []
    pools["tank"].volumes[f"tank/{ZVOL}"] = renamed
    host.die()
    host.start()
    site.unmap(ZVOL)
    assert at_nas(site, b"later")


def test_a_map_that_failed_leaves_no_device_to_a_reinstalled_host(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its copy was marked as in use, and no guest has used it: another host may have the image."""
    host = site.map_local(ZVOL)
    site.unmap(ZVOL)
    with monkeypatch.context() as patch, pytest.raises(ToolError, match="no device today"):
        patch.setattr(host.dm_devices, "ensure", no_device)
        site.map(ZVOL)
    site.wait_for_state(ZVOL, "unmapped")
    site.map_local(ZVOL, OTHER)
    reinstall(site, HOST)
    assert site.writers(ZVOL) == [OTHER]
    site.unmap(ZVOL)
    assert site.leftovers() == []


def test_a_map_that_failed_without_the_pool_of_its_copy_ends(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host cannot mark the copy, but no guest has used it: another host gets the image."""
    host = site.map_local(ZVOL)
    site.unmap(ZVOL)

    def lose_pool(*values: object) -> None:
        host.pools.export_pool("tank")
        raise ToolError("no device today")

    with monkeypatch.context() as patch, pytest.raises(ToolError, match="no device today"):
        patch.setattr(host.dm_devices, "ensure", lose_pool)
        site.map(ZVOL)
    site.wait_for_state(ZVOL, "unmapped")
    site.map_local(ZVOL, OTHER)
    host.pools.import_pool("tank")
    site.unmap(ZVOL)
    site.map_local(ZVOL)
    site.unmap(ZVOL)
    assert site.leftovers() == []


def no_device(*values: object) -> None:
    raise ToolError("no device today")
