"""A NAS loses its records or gets old ones back, with both daemons: guests keep their disks, and no data is lost.

At any moment of a life, and of a host: `test_random_lives.py`.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from rocks.core.errors import HostError, IncoherentError, RocksError, StateError, ToolError
from rocks.core.values import BYTES_PER_GIB
from rocks.storage.host import devices
from rocks.storage.iscsi.initiator import LOGGED_IN
from rocks.storage.nas import hosts
from rocks.storage.store.host import CopyRecord
from rocks.storage.wire import requests as wire
from tests.fakes.zfs import Pool
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.guests import Guest, content_of
from tests.unit.storage.daemons.nodes import HOSTS, HostNode

HOST, OTHER = HOSTS
ZVOL = "vm-vol"


@pytest.fixture
def site(site: DrivenSite) -> DrivenSite:
    site.nas.pools.ensure_volume(f"tank/{ZVOL}", BYTES_PER_GIB, 16384)
    site.nas.pools.write(f"tank/{ZVOL}", b"golden", 0)
    return site


def restart_with(site: DrivenSite, backup: Path) -> None:
    """Restart the NAS's daemon with records from a backup."""
    site.nas.die()
    shutil.rmtree(site.nas.store.parent)
    shutil.copytree(backup, site.nas.store.parent)
    site.nas.start()


def backup_of(site: DrivenSite, folder: Path) -> Path:
    """A copy of the NAS's records."""
    site.nas.die()
    shutil.copytree(site.nas.store.parent, folder)
    site.nas.start()
    return folder


def at_nas(site: DrivenSite, text: bytes) -> bool:
    """Whether the NAS has the guest's write."""
    return site.nas.pools.read(f"tank/{ZVOL}", len(text), 4096) == text


def test_a_local_image_is_taken_on_again(site: DrivenSite) -> None:
    """Without a command: it is local as before, and an unmap saves what was written."""
    site.map_local(ZVOL, OTHER)
    site.lose_records()
    site.wait_for_state(ZVOL, "local")
    assert site.row(ZVOL)["remotehost"] == OTHER
    with pytest.raises(StateError, match=f"already mapped: {OTHER}"):
        site.map(ZVOL)
    site.hosts[OTHER].pools.write(f"tank/{ZVOL}", b"later", 4096)
    site.unmap(ZVOL)
    assert at_nas(site, b"later")
    site.map_local(ZVOL)
    assert site.hosts[HOST].pools.read(f"tank/{ZVOL}", 5, 4096) == b"later"


def test_an_image_in_another_pool_is_taken_on_too(site: DrivenSite) -> None:
    """Without a command that names the pool: an unmap needs none."""
    site.nas.pools.fake.pools["second"] = Pool("second", 100 * BYTES_PER_GIB)
    initiator = str(site.ask(wire.ListInitiator(), HOST)["body"])
    site.ask(wire.MapZvol("second", "b-vol", HOST, "tank", 1, True, initiator))
    site.wait_for_state("b-vol", "local")
    site.lose_records()
    site.wait_for_state("b-vol", "local")
    site.unmap("b-vol")
    site.wait_for_state("b-vol", "unmapped")
    assert site.leftovers() == []


def test_an_export_in_use_without_a_volume_of_its_own_stays(site: DrivenSite) -> None:
    """Only an export that nobody uses is removed when the daemon starts."""
    device = site.map(ZVOL, sync=False)
    site.hosts[HOST].sessions.users[device] = "a guest"
    volume = site.nas.pools.read_volume(f"tank/{ZVOL}")
    # as a volume of a release before 1.1, whose owner nobody has recorded
    site.nas.pools.ensure_properties(volume.name, volume.guid, {"imgstore:owner": "none"})
    site.lose_records()
    (export,) = site.nas.targets.read_exports()
    assert export.sessions
    for session in site.hosts[HOST].sessions.read_sessions():
        site.hosts[HOST].sessions.users.clear()
        site.hosts[HOST].sessions.ensure_session_gone(session.target)
    site.lose_records()
    assert site.nas.targets.read_exports() == ()


@pytest.mark.parametrize("sync", [False, True])
def test_an_export_of_an_earlier_map_gives_way_when_nobody_uses_it(site: DrivenSite, sync: bool) -> None:
    """The NAS has no record of it, since its volume names no host: until then the next map says what to run."""
    site.map(ZVOL, sync=sync)
    (former,) = site.hosts[HOST].sessions.read_sessions()
    volume = site.nas.pools.read_volume(f"tank/{ZVOL}")
    site.nas.pools.ensure_properties(volume.name, volume.guid, {"imgstore:owner": "none"})
    site.lose_records()
    site.given_up.add(ZVOL)  # the first host knows nothing of it
    with pytest.raises(StateError, match=f"run iscsiadm -m node -T {former.target} -u there, and repeat"):
        site.map(ZVOL, OTHER, sync=sync)
    site.wait_for_state(ZVOL, "unmapped")
    site.hosts[HOST].sessions.ensure_session_gone(former.target)
    site.map(ZVOL, OTHER, sync=sync)
    (export,) = site.nas.targets.read_exports()
    assert export.target != former.target and export.sessions == (
        site.hosts[OTHER].sessions.read_initiator(),
    )


def test_an_export_of_a_later_map_than_the_record_stays(site: DrivenSite, tmp_path: Path) -> None:
    """Its host is cut off while the NAS gets its records from a backup: without the export its guest would hang."""
    site.map(ZVOL, sync=False)
    backup = backup_of(site, tmp_path / "backup")
    site.unmap(ZVOL)
    site.wait_for_state(ZVOL, "unmapped")
    site.map(ZVOL, OTHER, sync=False)
    (session,) = site.hosts[OTHER].sessions.read_sessions()
    site.hosts[OTHER].sessions.ensure_session_gone(session.target)
    restart_with(site, backup)
    assert [one.target for one in site.nas.targets.read_exports()] == [session.target]


def test_an_export_of_older_records_is_removed_by_those_that_follow(site: DrivenSite, tmp_path: Path) -> None:
    """The NAS makes it again from a backup, loses these records, too, and knows its name no more."""
    site.map(ZVOL, sync=False)
    backup = backup_of(site, tmp_path / "backup")
    site.unmap(ZVOL)
    site.wait_for_state(ZVOL, "unmapped")
    site.map_local(ZVOL, OTHER)
    restart_with(site, backup)
    assert len(site.nas.targets.read_exports()) == 1
    site.lose_records()
    site.wait_for_state(ZVOL, "local")
    assert site.nas.targets.read_exports() == ()
    site.unmap(ZVOL)
    assert site.leftovers() == []


def test_an_export_that_cannot_be_removed_holds_nothing_else(
    site: DrivenSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is one of older records: the image is written back without that, and the daemon starts."""
    site.map(ZVOL, sync=False)
    backup = backup_of(site, tmp_path / "backup")
    site.unmap(ZVOL)
    site.wait_for_state(ZVOL, "unmapped")
    site.map_local(ZVOL, OTHER)
    site.hosts[OTHER].pools.write(f"tank/{ZVOL}", b"later", 4096)
    restart_with(site, backup)
    (former,) = site.nas.targets.read_exports()
    remove = site.nas.targets.ensure_export_gone

    def remove_others(target: str) -> object:
        if target == former.target:
            raise IncoherentError("its backstore also serves another target")
        return remove(target)

    with monkeypatch.context() as patch:
        patch.setattr(site.nas.targets, "ensure_export_gone", remove_others)
        site.lose_records()
        site.wait_for_state(ZVOL, "local")
        site.unmap(ZVOL)
        site.nas.die()
        site.nas.start()
        assert site.state(ZVOL) == "unmapped" and at_nas(site, b"later")
        assert [one.target for one in site.nas.targets.read_exports()] == [former.target]
    site.nas.die()
    site.nas.start()
    assert site.leftovers() == []


@pytest.mark.parametrize("sync", [False, True])
def test_the_session_of_a_guest_outlives_records_and_exports(site: DrivenSite, sync: bool) -> None:
    """The NAS is installed anew: iscsid connects the session by the passwords that it has in memory, and no others."""
    site.map(ZVOL, sync=sync)
    host = site.hosts[HOST]
    site.nas.lose_power()
    site.nas.forget_records()
    site.nas.start()
    assert [one.state for one in host.sessions.read_sessions()] == ["FAILED"]
    site.wait_for_state(ZVOL, "mapped" if sync else "remote")
    (session,) = host.sessions.read_sessions()
    assert session.state == LOGGED_IN
    chap = site.nas.targets.read_secrets(session.target)
    assert chap is not None
    answers = host.service._store.rows("SELECT answer FROM requests")
    assert answers and not any(chap.password.encode() in answer for (answer,) in answers)
    site.unmap(ZVOL)
    assert site.leftovers() == []


def test_an_answer_counts_although_its_passwords_are_not_recorded(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*values: object) -> None:
        raise HostError("not these")

    site.map(ZVOL)
    site.nas.lose_power()
    site.nas.forget_records()
    monkeypatch.setattr(hosts, "check_chap", fail)
    site.nas.start()
    site.wait_for_state(ZVOL, "mapped")
    assert site.image(ZVOL).owner == HOST
    assert f"the session of {ZVOL} on {HOST} are not recorded: not these" in caplog.text


@pytest.mark.parametrize("persistent", ["yes", "no"])
def test_an_export_of_older_records_of_the_same_map_is_removed_too(
    site: DrivenSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, persistent: str
) -> None:
    """When both losses come while the image is written back, and the host has no device any more."""

    def fail(*values: object) -> None:
        raise HostError("not now")

    site.map(ZVOL)
    backup = backup_of(site, tmp_path / "backup")
    host = site.map_local(ZVOL)
    host.pools.write(f"tank/{ZVOL}", b"later", 4096)
    site.ask(wire.SetZvolAttrs(ZVOL, (("persistent", persistent),)))
    with monkeypatch.context() as patch:
        patch.setattr(host.pools, "ensure_snapshot", fail)
        patch.setattr(host.pools, "ensure_rolled_back", fail)
        site.send(wire.UnmapZvol(ZVOL))
        site.wait_for(lambda: "not now" in site.image(ZVOL).reason, "failure")
        restart_with(site, backup)
        assert len(site.nas.targets.read_exports()) == 1
        site.lose_records()
    site.wait_for_state(ZVOL, "unmapped")
    assert at_nas(site, b"later") == (persistent == "yes") and site.leftovers() == []


def test_records_one_map_too_old(site: DrivenSite, tmp_path: Path) -> None:
    """No other host gets the image, both values are reported, and `clean` saves what the guest has written."""
    site.map_local(ZVOL)
    site.unmap(ZVOL)
    backup = backup_of(site, tmp_path / "backup")
    site.map_local(ZVOL, OTHER)
    site.hosts[OTHER].pools.write(f"tank/{ZVOL}", b"other", 4096)
    restart_with(site, backup)
    row = site.row(ZVOL)
    assert row["state"] == "blocked"
    assert f"epoch 1 (no host) in the records, epoch 2 ({OTHER}) on the volume" in row["reason"]
    assert f"rocks clean host storagemap nas-0-0 {ZVOL}" in row["reason"]
    with pytest.raises(StateError, match="is blocked and needs operator action"):
        site.map(ZVOL, HOST)
    site.ask(wire.RetryZvol(ZVOL))
    site.wait_for_state(ZVOL, "local")
    site.unmap(ZVOL)
    assert at_nas(site, b"other")


def test_records_that_go_back_under_a_running_daemon(site: DrivenSite) -> None:
    """As a rolled-back volume: the map that finds another grant on the volume fails, and is not given to the host."""
    site.map_local(ZVOL)
    site.unmap(ZVOL)
    volume = site.nas.pools.read_volume(f"tank/{ZVOL}")
    site.nas.pools.ensure_properties(
        volume.name, volume.guid, {"imgstore:epoch": "2", "imgstore:owner": OTHER}
    )
    with pytest.raises(IncoherentError, match=r"epoch 2 \(vmc-0-0\) in the records, epoch 2 \(vmc-0-1\)"):
        site.map(ZVOL, HOST)
    assert site.row(ZVOL)["state"] == "blocked" and site.leftovers() == []


def test_an_export_stays_until_its_host_reads_from_its_copy(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host has recorded that it merges, and not switched yet, when the NAS loses its records."""

    def fail(*values: object) -> None:
        raise IncoherentError("not expected")

    host, guest = site.hosts[HOST], Guest(site)
    monkeypatch.setattr(devices, "wait_seconds", lambda seconds: guest.merge_one())
    site.map(ZVOL)
    assert guest.start(host)
    guest.expected = guest.read()
    guest.write(4)
    with monkeypatch.context() as patch:
        patch.setattr(host.dm_devices, "switch", fail)
        site.wait_for_state(ZVOL, "blocked")
    site.lose_records()
    site.wait_for_state(ZVOL, "local")
    guest.check(may_wait=False)
    guest.stop()
    site.unmap(ZVOL)
    assert content_of(site.nas.pools, f"tank/{ZVOL}") == guest.expected and site.leftovers() == []


@pytest.mark.slow
@pytest.mark.parametrize("persistent", ["yes", "no"])
@pytest.mark.parametrize("records", ["none", "of this grant", "of the grant before"])
def test_changes_stay_or_are_discarded_as_it_was_set_last(
    site: DrivenSite, tmp_path: Path, records: str, persistent: str
) -> None:
    """It is on the volume, too; the records that come back have the opposite."""
    site.map_local(ZVOL)
    site.unmap(ZVOL)
    for value in ("no" if persistent == "yes" else "yes", persistent):
        site.ask(wire.SetZvolAttrs(ZVOL, (("persistent", value),)))
        backup = tmp_path / "backup"
        if not backup.exists():
            backup_of(site, backup)
    if records == "of this grant":
        restart_with(site, backup)
    site.map_local(ZVOL)
    if records == "none":
        site.lose_records()
    elif records == "of the grant before":
        restart_with(site, backup)
        site.ask(wire.RetryZvol(ZVOL))
    site.wait_for_state(ZVOL, "local")
    site.hosts[HOST].pools.write(f"tank/{ZVOL}", b"later", 4096)
    site.unmap(ZVOL)
    assert at_nas(site, b"later") == (persistent == "yes") and site.leftovers() == []


def replicate(site: DrivenSite) -> None:
    """As `zfs send -R tank@x | zfs receive -u backup` on the NAS: all volumes, with properties."""
    pools = site.nas.pools
    pools.fake.pools["backup"] = Pool("backup", 100 * BYTES_PER_GIB)
    for volume in pools.list_volumes("tank"):
        name = f"backup/{volume.name.partition('/')[2]}"
        pools.ensure_volume(name, volume.size_bytes, 16384, properties=dict(volume.properties))


@pytest.mark.parametrize("sync", [False, True])
def test_a_replica_of_a_pool_on_the_nas_is_no_image(
    site: DrivenSite, caplog: pytest.LogCaptureFixture, sync: bool
) -> None:
    """It comes first by its name, and has old content."""
    site.map(ZVOL, sync=sync)
    replicate(site)
    site.lose_records()
    assert site.image(ZVOL).pool == "tank" and not site.nas.service._comparison.unread
    text = f"backup/{ZVOL} gets no record: its grant names the pool tank. If it is no replica, but in a renamed pool"
    assert text in caplog.text
    site.wait_for_state(ZVOL, "local" if sync else "remote")
    site.unmap(ZVOL)
    assert site.leftovers() == []


def test_a_volume_that_gets_no_record_holds_up_no_other(site: DrivenSite) -> None:
    """A replica of an earlier release names no pool; that of the image is read again."""
    for zvol in (ZVOL, "z-vol"):
        site.map_local(zvol)
    replicate(site)
    pools = site.nas.pools
    pools.ensure_volume_gone("backup/z-vol", pools.read_volume("backup/z-vol").guid, may_lose_bytes=None)
    for pool in ("tank", "backup"):
        for volume in pools.fake.pools[pool].volumes.values():
            volume.properties.pop("imgstore:nas_pool", None)
    site.lose_records()
    assert [site.image(zvol).pool for zvol in (ZVOL, "z-vol")] == ["backup", "tank"]
    assert f"tank/{ZVOL} gets no record" in site.nas.service._comparison.unread["tank"]


# A host loses its records or gets old ones back: its volumes say what they are of, and no write of a guest is lost.
#
# At any moment of a life, and of a NAS: `test_random_lives.py`.


__all__ = ["site"]


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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
