"""Defects of the published implementation that only threads and a real broker can show: none of them is possible.

The others: the table in `docs/image-storage-internals.md`.
"""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rocks.core import clock
from rocks.core.errors import RocksError
from rocks.storage.host import devices
from rocks.storage.wire import requests as wire
from tests.system.imgstorage.image_site import HOSTS, NAS, ImageSite
from tests.system.imgstorage.real_broker import RealBroker

HOST, OTHER = HOSTS


@pytest.fixture
def site(daemons: ImageSite) -> Iterator[ImageSite]:
    """Nothing is left of any test."""
    yield daemons
    assert daemons.leftovers(HOST) == [] and daemons.leftovers(OTHER) == []


def in_background(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Run `work` in a thread; its result or error is appended to the list."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(work())
        except RocksError as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


def test_f10_the_scheduler_survives_its_own_faults(site: ImageSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of no expected class in the middle of a round: the next rounds start the copy."""
    service = site.nas.service
    start, faults = service._scheduler._start_transfers, [ZeroDivisionError("a plain number")] * 2

    def failing(now: int) -> None:
        if faults:
            raise faults.pop()
        start(now)

    monkeypatch.setattr(service._scheduler, "_start_transfers", failing)
    site.map_local("f10-vol")
    assert faults == []
    site.unmap("f10-vol")


def test_f15_a_device_in_use_delays_no_other_request(
    site: ImageSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host polls whether a guest closes it; meanwhile it answers, and another image is written back."""
    host = site.map_local("f15-vol")
    site.map_local("f15-other-vol")
    device = host.kernel.devices["f15-vol-snap"]
    polls = threading.Event()

    def wait(seconds: float) -> None:
        polls.set()
        clock.wait_seconds(seconds)

    monkeypatch.setattr(devices, "_UDEV_SECONDS", 3600.0)
    monkeypatch.setattr(devices, "wait_seconds", wait)
    device.holders += 1
    try:
        unmap, outcome = in_background(lambda: site.ask(wire.UnmapZvol("f15-vol"), deadline_seconds=600))
        assert polls.wait(120)
        rows = site.ask(wire.ListDevices(), HOST)["body"]
        site.unmap("f15-other-vol")
        assert "f15-vol" in rows and outcome == []
    finally:
        device.holders -= 1
    unmap.join(120)
    assert len(outcome) == 1 and not isinstance(outcome[0], RocksError), outcome


def test_f16_a_new_connection_to_the_broker_makes_no_more_threads(
    site: ImageSite, real_broker: RealBroker
) -> None:
    """However often the broker throws the daemons out."""
    site.map_local("f16-vol")
    host = site.hosts[HOST].service
    nas = site.nas.service

    def named() -> list[str]:
        names = ("scheduler", "snapshot-expiry", "watch", "releases", "revocations", "bus", "outbox")
        return sorted(thread.name for thread in threading.enumerate() if thread.name in names)

    before = named()
    for _ in range(2):
        count = nas._bus._connection
        real_broker.throw_out(NAS, HOST)
        site.wait_for(lambda: nas._bus._connection > count, "connected again")  # noqa: B023
        assert nas._bus.wait_until_connected(120) and host._bus.wait_until_connected(120)
    assert named() == before
    site.unmap("f16-vol")
