"""A NAS gets its records back from a backup that was made while the image was being mapped, and LIO has lost all."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from rocks.storage.iscsi.initiator import LOGGED_IN
from rocks.storage.wire import requests as wire
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.nodes import HOST, HOSTS
from tests.unit.storage.daemons.test_lost_records import ZVOL, site

__all__ = ["site"]


def map_with_backup(site: DrivenSite, sync: bool, moment: int, folder: Path) -> None:
    """Map the image. The backup is made after that many commits of the NAS."""
    store = site.nas.service._store
    execute, commits = store._execute, 0

    def counted(sql: str, values: tuple[Any, ...] = ()) -> Any:
        nonlocal commits
        found = execute(sql, values)
        commits += sql == "COMMIT"
        if sql == "COMMIT" and commits == moment:
            shutil.copytree(site.nas.store.parent, folder)
        return found

    store._execute = counted
    site.map(ZVOL, sync=sync)
    store._execute = execute
    assert folder.exists()


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(1, 11))
@pytest.mark.parametrize("sync", [False, True], ids=["remote", "copied"])
@pytest.mark.parametrize("was_mapped", [False, True], ids=["first map", "second map"])
def test_the_guest_and_the_next_start_have_the_image(
    site: DrivenSite, tmp_path: Path, moment: int, sync: bool, was_mapped: bool
) -> None:
    """The records go on, or contradict the volume: then the command of the message makes them go on."""
    if was_mapped:
        site.map(ZVOL, sync=False)
        site.unmap(ZVOL)
    map_with_backup(site, sync, moment, tmp_path / "backup")
    site.nas.lose_power()
    shutil.rmtree(site.nas.store.parent)
    shutil.copytree(tmp_path / "backup", site.nas.store.parent)
    site.nas.start()
    for _ in range(3):
        site.turn()
    if site.state(ZVOL) == "blocked":
        assert f"`rocks clean host storagemap nas-0-0 {ZVOL}` goes on with" in site.image(ZVOL).reason
        site.ask(wire.RetryZvol(ZVOL))
    site.wait_for_state(ZVOL, "local" if sync else "remote")
    assert [one.state for one in site.hosts[HOST].sessions.read_sessions()] == [LOGGED_IN] * (not sync)
    for host in site.hosts:
        site.unmap(ZVOL)
        assert site.leftovers() == []
        site.map(ZVOL, host, sync=False)


@pytest.mark.slow
@pytest.mark.parametrize("sync", [False, True], ids=["remote", "copied"])
@pytest.mark.parametrize("former", HOSTS)
def test_changes_of_the_time_of_the_backup_were_written_back_before_the_grant_of_the_volume(
    site: DrivenSite, tmp_path: Path, former: str, sync: bool
) -> None:
    site.map(ZVOL, former)
    site.wait_for_state(ZVOL, "local")
    shutil.copytree(site.nas.store.parent, tmp_path / "backup")
    site.unmap(ZVOL)
    site.map(ZVOL, HOST, sync=sync)
    site.wait_for_state(ZVOL, "local" if sync else "remote")
    site.nas.lose_power()
    shutil.rmtree(site.nas.store.parent)
    shutil.copytree(tmp_path / "backup", site.nas.store.parent)
    site.nas.start()
    site.ask(wire.RetryZvol(ZVOL))
    site.wait_for_state(ZVOL, "local" if sync else "remote")
    for host in site.hosts:
        site.unmap(ZVOL)
        site.map(ZVOL, host, sync=False)
        assert site.image(ZVOL).owner == host
