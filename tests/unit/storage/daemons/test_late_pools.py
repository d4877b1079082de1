"""A pool hangs, or is missing, when a daemon starts: other images are served, and those of the pool afterwards."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rocks.core.clock import monotonic_seconds
from rocks.core.errors import HostError, ToolError
from rocks.core.values import BYTES_PER_GIB
from rocks.storage.host import devices
from rocks.storage.nas import exports
from rocks.storage.wire import requests as wire
from rocks.storage.zfs import silent_pools
from tests.patience import patience
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.guests import Guest
from tests.unit.storage.daemons.nodes import HOST
from tests.unit.storage.daemons.test_lost_records import ZVOL, reinstall

IMAGES = ("a-vol", "b-vol", "c-vol")
GOOD, BAD = "tank", "data"
_DEADLINE_SECONDS = 0.3


class Hanging:
    """Commands for one pool that end by their deadline, as those of `zfs` do."""

    def __init__(self, pools: Any, patch: pytest.MonkeyPatch, deadline_seconds: float) -> None:
        self._ended = threading.Event()
        self.calls = self.ends = 0
        for name, seconds in (("list_volumes", 60), ("read_volume", deadline_seconds)):
            patch.setattr(pools, name, self._around(getattr(pools, name), seconds))

    def _around(self, read: Callable[[str], Any], seconds: float) -> Callable[[str], Any]:
        def read_or_hang(name: str) -> Any:
            if name.partition("/")[0] == BAD and not self._ended.is_set():
                self.calls += 1
                self._ended.wait(seconds)
                self.ends += 1
                raise ToolError("zfs did not end in time and was killed")
            return read(name)

        return read_or_hang

    def end(self) -> None:
        """The pool answers again."""
        self._ended.set()


def map_in(site: DrivenSite, pool: str, zvol: str) -> None:
    initiator = site.hosts[HOST].sessions.read_initiator()
    site.ask(wire.MapZvol(pool, zvol, HOST, "tank", 1, False, initiator, None, ""))


@pytest.fixture
def rebooted(site: DrivenSite, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[DrivenSite, Hanging]]:
    """Three images of each pool are mapped, and the NAS has lost its power; its second pool hangs."""
    site.nas.pools.fake.pools.update(type(site.nas.pools)({BAD: 100 * BYTES_PER_GIB}).fake.pools)
    for zvol in IMAGES:
        map_in(site, GOOD, f"good-{zvol}")
        map_in(site, BAD, f"bad-{zvol}")
    site.nas.lose_power()
    seconds = patience(_DEADLINE_SECONDS)  # in the half of which the pool that answers is read
    monkeypatch.setattr(silent_pools, "READ_SECONDS", seconds / 2)
    monkeypatch.setattr(exports, "COMMAND_SECONDS", seconds / 2)
    hanging = Hanging(site.nas.pools, monkeypatch, seconds)
    yield site, hanging
    hanging.end()


def exported(site: DrivenSite) -> set[str]:
    return {one.target.rpartition(":")[2].partition(".")[0] for one in site.nas.targets.read_exports()}


@pytest.mark.slow
def test_the_start_does_not_wait_for_a_pool_that_hangs(
    rebooted: tuple[DrivenSite, Hanging], caplog: pytest.LogCaptureFixture
) -> None:
    site, hanging = rebooted
    site.nas.start()
    assert (hanging.calls, hanging.ends) == (1, 0)
    assert exported(site) == {f"good-{zvol}" for zvol in IMAGES}
    assert f"the images in {BAD} are not compared with their volumes yet: zfs has not answered" in caplog.text
    assert "the export could not be made again, and is tried again" in site.row("bad-a-vol")["reason"]
    hanging.end()
    site.nas.service._exports.look()
    site.nas.service._comparison.go_on()
    assert exported(site) == {f"{kind}-{zvol}" for kind in ("good", "bad") for zvol in IMAGES}
    assert site.row("bad-a-vol")["reason"] == "" and not site.nas.service._comparison.unread


@pytest.mark.slow
def test_the_start_does_not_wait_for_a_list_of_pools_that_hangs(
    rebooted: tuple[DrivenSite, Hanging], monkeypatch: pytest.MonkeyPatch
) -> None:
    site, _ = rebooted
    begun, is_over = [], threading.Event()
    monkeypatch.setattr(site.nas.pools, "list_pools", lambda: (begun.append(1), is_over.wait(60), ())[2])
    before = monotonic_seconds()
    site.nas.start()
    is_over.set()
    assert monotonic_seconds() - before < 10 and begun == [1]
    assert exported(site) == {f"good-{zvol}" for zvol in IMAGES}


@pytest.mark.slow
def test_a_round_waits_for_a_pool_once_and_after_the_exports_of_others(
    rebooted: tuple[DrivenSite, Hanging],
) -> None:
    site, hanging = rebooted
    site.nas.start()
    site.nas.targets.configs.clear()
    site.nas.targets.backstores.clear()
    before = hanging.calls
    site.nas.service._exports.look()
    assert hanging.calls == before + 1 and exported(site) == {f"good-{zvol}" for zvol in IMAGES}


def test_why_old_snapshots_stay_is_logged_once(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site.map(ZVOL)
    site.unmap(ZVOL)

    def hang(volume: str) -> None:
        raise HostError("the pool tank has not answered")

    monkeypatch.setattr(site.nas.pools, "read_history", hang)
    caplog.clear()
    for _ in range(2):
        site.nas.service._snapshot_expiry.look()
    line = f"old snapshots of {ZVOL} stay: the pool tank has not answered"
    assert [record.getMessage() for record in caplog.records] == [line]


def test_an_image_that_is_mapped_while_a_late_pool_is_compared_is_not_blocked(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read of its volume is from before the map, and waits for another pool, which hangs."""
    site.map(ZVOL)
    site.unmap(ZVOL)
    comparison, pools = site.nas.service._comparison, site.nas.pools
    read = pools.list_volumes

    def read_and_map(pool: str) -> Any:
        found = read(pool)
        monkeypatch.setattr(pools, "list_volumes", read)
        site.map(ZVOL)
        return found

    monkeypatch.setattr(pools, "list_volumes", read_and_map)
    comparison.unread = {"tank": "zfs has not answered"}
    comparison.go_on()
    assert (site.state(ZVOL), site.image(ZVOL).disagrees) == ("mapped", "") and "tank" in comparison.unread
    comparison.go_on()
    assert (site.state(ZVOL), comparison.unread) == ("mapped", {})


def test_writes_in_a_pool_that_is_imported_late_are_saved_by_what_the_message_says(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host was installed anew, and its daemon has started before the pool was there."""
    host, guest = site.hosts[HOST], Guest(site)
    monkeypatch.setattr(devices, "wait_seconds", lambda seconds: guest.merge_one())
    site.map(ZVOL)
    assert site.state(ZVOL) == "mapped" and guest.start(host)
    guest.write(4)
    guest.stop()
    host.pools.export_pool("tank")
    reinstall(site, HOST)
    site.turn()
    host.pools.import_pool("tank")
    site.wait_for_state(ZVOL, "blocked")
    site.ask(wire.RetryZvol(ZVOL))
    site.wait_for(lambda: "systemctl restart rocks-imgstorage-host" in site.image(ZVOL).reason, "explained")
    assert f"then run `rocks clean host storagemap nas-0-0 {ZVOL}`" in site.image(ZVOL).reason
    host.die()
    host.start()
    site.ask(wire.RetryZvol(ZVOL))
    site.wait_for_state(ZVOL, "local")
    site.unmap(ZVOL)
    assert site.nas.pools.read(f"tank/{ZVOL}", 2, 4 * 8192) == b"v1" and site.leftovers() == []
