"""The removal of a volume."""

from dataclasses import replace
from pathlib import Path

import pytest

from rocks.core.errors import HostError, RocksError, StateError, ToolError
from rocks.core.values import BYTES_PER_GIB
from rocks.storage.wire import requests as wire
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.nodes import OTHER_NAS
from tests.unit.storage.daemons.test_lost_records import ZVOL, backup_of, restart_with
from tests.unit.storage.daemons.test_nas_move import create_image, move

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_f5_a_longer_name_is_another_volume(site: DrivenSite) -> None:
    """One image is destroyed; another with a longer name, and a clone, are not."""
    for name in ("f5-vol", "f5-vol2"):
        site.ask(wire.AddZvol("tank", name, BYTES_PER_GIB))
    site.ask(wire.AddZvol("tank", "f5-clone", origin="f5-vol2"))
    site.ask(wire.DelZvol("tank", "f5-vol"))
    site.wait_for(lambda: site.nas.pools.read_volume("tank/f5-vol") is None, "destroyed")
    with pytest.raises(StateError, match=r"others need it: .*f5-clone"):
        site.ask(wire.DelZvol("tank", "f5-vol2"))
    assert site.nas.pools.read_volume("tank/f5-vol2") is not None
    assert site.nas.pools.read_volume("tank/f5-clone") is not None


def test_f19_a_volume_can_be_destroyed_after_its_use(site: DrivenSite) -> None:
    """Nothing of the export stays, neither target nor backstore."""
    site.map_local("f19-vol")
    assert site.nas.targets.read_exports() == () and site.nas.targets.read_unused_backstores() == ()
    site.unmap("f19-vol")
    site.ask(wire.DelZvol("tank", "f19-vol"))
    site.wait_for(lambda: site.nas.pools.read_volume("tank/f19-vol") is None, "destroyed")


@pytest.mark.parametrize("since", ["restored", "mapped", "removed again"])
def test_an_older_record_destroys_no_volume(
    site: DrivenSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, since: str
) -> None:
    """Its pool is late when the daemon starts, so that they are not compared before the grace period has ended."""
    pools = site.nas.pools
    site.ask(wire.AddZvol("tank", ZVOL, BYTES_PER_GIB))
    site.ask(wire.DelZvol("tank", ZVOL, grace_seconds=300))
    backup = backup_of(site, tmp_path / "backup")
    site.ask(wire.UndeleteZvol(ZVOL))
    if since == "mapped":
        host = site.map_local(ZVOL)
        host.pools.write(f"tank/{ZVOL}", b"later", 4096)
    elif since == "removed again":
        site.ask(wire.DelZvol("tank", ZVOL, grace_seconds=10**9))
    guid = pools.read_volume(f"tank/{ZVOL}").guid

    def hang(pool: str) -> None:
        raise ToolError("zfs has not answered")

    with monkeypatch.context() as patch:
        patch.setattr(pools, "list_volumes", hang)
        restart_with(site, backup)
        assert site.state(ZVOL) == "deleting"
        site.wait_for_state(ZVOL, "blocked")
    assert pools.read_volume(f"tank/{ZVOL}").guid == guid
    assert (
        "is not destroyed: the NAS's records and the volume contradict each other" in site.image(ZVOL).reason
    )
    site.ask(wire.RetryZvol(ZVOL))
    if since == "removed again":
        for _ in range(20):
            site.turn()
        assert (site.state(ZVOL), site.image(ZVOL).due_at) == ("deleting", None)
        site.ask(wire.UndeleteZvol(ZVOL))
    elif since == "mapped":
        site.wait_for_state(ZVOL, "local")
        site.unmap(ZVOL)
        assert pools.read(f"tank/{ZVOL}", 5, 4096) == b"later"
    site.wait_for_state(ZVOL, "unmapped")
    assert pools.read_volume(f"tank/{ZVOL}").guid == guid


@pytest.mark.slow
@pytest.mark.parametrize("obstacle", ["hold", "silence", "other volume"])
@pytest.mark.parametrize("removed", ["by a command", "by a move", "before the records were lost"])
def test_an_image_that_is_not_destroyed_at_once_stays_removed(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch, removed: str, obstacle: str
) -> None:
    """As before the command: with the end of its grace period, and, if it was moved, the NAS that has the image."""
    pools = site.nas.pools
    create_image(site)
    if removed == "by a move":
        move(site)
    else:
        site.ask(wire.DelZvol("tank", ZVOL, grace_seconds=10**6))
    if removed == "before the records were lost":
        site.lose_records()
        with pytest.raises(StateError, match="grace period"):
            site.map(ZVOL)
    before, volume = site.row(ZVOL), pools.read_volume(f"tank/{ZVOL}")
    (first, *_) = pools.read_history(volume.name).snapshots
    with monkeypatch.context() as patch, pytest.raises(RocksError):
        if obstacle == "hold":
            pools.ensure_hold(volume.name, first.name, first.guid, "backup")
        elif obstacle == "other volume":
            pools.ensure_renamed(volume.name, volume.guid, "tank/elsewhere")
            pools.ensure_volume(volume.name, BYTES_PER_GIB, 16384)
        else:
            patch.setattr(pools, "read_history", _fail)
        site.ask(wire.DelZvol("tank", ZVOL))
    after = site.row(ZVOL)
    assert after == before and after["state"] == "deleting"
    assert (after["due_at"] is None) == (removed == "before the records were lost")
    with pytest.raises(
        StateError, match=f"was moved to {OTHER_NAS}" if removed == "by a move" else "grace period"
    ):
        site.map(ZVOL)
    site.ask(wire.UndeleteZvol(ZVOL))
    assert site.state(ZVOL) == "unmapped"


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_clock_that_jumps_destroys_no_volume(site: DrivenSite, is_restarted: bool) -> None:
    """Not even where the daemon starts with the wrong time, and knows no other: what it has not counted is left."""
    site.ask(wire.AddZvol("tank", ZVOL, BYTES_PER_GIB))
    site.ask(wire.DelZvol("tank", ZVOL, grace_seconds=7200))
    pass_time(site, 3700)
    for error in (10**6, -(10**6)):
        if is_restarted:
            site.nas.die()
        site.clock_error += error
        site.now += error
        if is_restarted:
            site.nas.start()
        site.turn()
        assert site.state(ZVOL) == "deleting"
    pass_time(site, 3300)
    assert site.state(ZVOL) == "deleting"
    pass_time(site, 200)
    assert site.image(ZVOL) is None and site.nas.pools.read_volume(f"tank/{ZVOL}") is None


def pass_time(site: DrivenSite, seconds: int) -> None:
    """By all clocks."""
    site.turn()
    site.now += seconds
    site.turn()


def test_a_record_of_an_earlier_release_ends_with_the_time_alone(site: DrivenSite) -> None:
    """It does not say how much of the grace period there was."""
    site.ask(wire.AddZvol("tank", ZVOL, BYTES_PER_GIB))
    site.ask(wire.DelZvol("tank", ZVOL, grace_seconds=7200))
    site.nas.service._engine.add(replace(site.image(ZVOL), grace_seconds=0))
    site.turn()
    assert site.state(ZVOL) == "deleting"
    site.now += 7200
    site.clock_error += 7200
    site.turn()
    assert site.image(ZVOL) is None


def _fail(*values: object) -> None:
    raise HostError("the pool tank has not answered")
