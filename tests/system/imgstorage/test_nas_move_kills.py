"""A move between NASes whose daemons are killed by SIGKILL: at each change, record, line and part of a stream.

Each death is followed by a new daemon and by the command again. `make test-random` kills at every moment.
"""

import json
import os
import pickle
import socket
import subprocess  # noqa: TID251 - a daemon that is killed
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import RocksError
from rocks.storage.life.names import arriving_volume
from rocks.storage.wire import requests as wire
from rocks.storage.zfs.fake.contents import Volume
from rocks.storage.zfs.fake.pools import FakePools
from tests.generated import PROFILE
from tests.system.imgstorage.image_site import NAS, ImageSite
from tests.system.imgstorage.real_broker import RealBroker

pytestmark = pytest.mark.moments
MIB = 2**20
_ALL = PROFILE == "random"
VOLUMES = 300 if _ALL else 20
"""Half of them for each daemon, one for each death; all of them are written and listed all the time."""

DEATHS = VOLUMES // 2 - 2 if _ALL else 2
"""How many moments of a move are tried, spread over all of it."""

_SECONDS = 60.0


class Nases:
    def __init__(self, folder: Path, broker: RealBroker, other: str, port: int) -> None:
        self.folder = folder
        self.other = other
        self._broker = broker
        self._port = port
        self._site = ImageSite(folder / "client", broker, port)  # its daemons are never started
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self.starts = 0
        self.passed = 0

    def prepare(self) -> None:
        """Pools with images on the first, an empty pool on the second."""
        pools = FakePools()
        for number in range(VOLUMES):
            name = f"tank/vm-{number}"
            pools.ensure_volume(name, MIB, 16384)
            fact = pools.read_volume(name)
            assert fact is not None
            pools.write(name, b"%d" % number * 9000, 0)
            pools.ensure_snapshot(name, fact.guid, "img-1-1-20260101T000000Z", {})
            pools.write(name, b"later" * 5000, MIB // 2)
        for node, made in ((NAS, pools), (self.other, FakePools())):
            (self.folder / f"{node}.pools").write_bytes(pickle.dumps(made.fake.pools))

    def start(self, node: str, die_at: int = 0) -> None:
        """Start its daemon, in the place of the one that runs."""
        self.kill(node)
        self.starts += 1
        settings = self._broker.settings(node)
        spec = {
            "node": node,
            "folder": str(self.folder),
            "die_at": die_at,
            "address": settings.address,
            "port": settings.port,
            "pair": settings.pair_file,
            "authority": settings.authority_file,
            "stream_port": self._port,
        }
        path = self.folder / f"{node}.json"
        path.write_text(json.dumps(spec))
        (self.folder / f"{node}.trace").write_text("")
        with (self.folder / f"{node}.log").open("a") as log:
            process = self._processes[node] = subprocess.Popen(
                [sys.executable, "-m", "tests.system.imgstorage.nas_process", str(path)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "PYTHONPATH": "src"},
            )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", (self.folder / f"{node}.log").read_text()[-3000:]

    def kill(self, node: str) -> None:
        """End its daemon, if it runs."""
        process = self._processes.pop(node, None)
        if process is not None:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def has_died(self, node: str) -> bool:
        return self._processes[node].poll() is not None

    def moments(self, node: str) -> int:
        """How many moments its daemon has passed since it was ready."""
        return len((self.folder / f"{node}.trace").read_text().splitlines())

    def row(self, node: str, zvol: str, seconds: float = 5) -> Mapping[str, Any] | None:
        """The image's row of a NAS, None when it has none. RocksError without an answer."""
        rows: list[Mapping[str, Any]] = []
        more = True
        while more:
            request = wire.ListZvols(str(rows[-1]["zvol"]) if rows else "")
            answer = self._site.ask(request, node, seconds)
            rows += answer["body"]
            more = bool(answer["more"])
        return next((row for row in rows if row["zvol"] == zvol), None)

    def attempt(self, zvol: str) -> bool:
        """What the command does; False when it fails, and is to be repeated."""
        try:
            here = self.row(NAS, zvol, 2)
            assert here is not None
            if here["state"] == "unmapped":
                accept = wire.AcceptZvol("tank", zvol, NAS, str(here["image_id"]))
                self._site.ask(accept, self.other, 2)
            self._site.ask(wire.MoveZvol(zvol, self.other, "tank", 3600), NAS, 2)
            return True
        except RocksError:
            return False

    def adopt(self, zvol: str) -> None:
        """The image gets its record on the first NAS: a removal that is revoked."""
        self._site.ask(wire.DelZvol("tank", zvol, grace_seconds=3600), NAS, 10)
        end_at = time.monotonic() + _SECONDS
        while True:
            try:
                self._site.ask(wire.UndeleteZvol(zvol), NAS, 10)
                return
            except RocksError:
                assert time.monotonic() < end_at
                time.sleep(0.05)

    def volume(self, node: str, name: str) -> Volume | None:
        """A volume as it is on the NAS's disks."""
        pools = pickle.loads((self.folder / f"{node}.pools").read_bytes())
        found: Volume | None = pools["tank"].volumes.get(name)
        return found


class Owners:
    """Looks all the time which of the NASes could give the image to a host."""

    def __init__(self, nases: Nases, zvol: str) -> None:
        self.both = 0
        self.looks = 0
        self._nases = nases
        self._zvol = zvol
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def wait_for_look(self) -> None:
        """Until both have answered once; on a busy machine they may answer too late during the whole move."""
        deadline = Deadline(60.0)
        while not self.looks and not deadline.passed():
            wait_seconds(0.1)

    def close(self) -> None:
        self._ends.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ends.wait(0.02):
            try:
                # the second first: once it has the image, the first must not have it at any later moment
                there = self._nases.row(self._nases.other, self._zvol, 1)
                here = self._nases.row(NAS, self._zvol, 1)
            except RocksError:
                continue
            self.looks += 1
            is_there = there is not None and there["state"] != "arriving"
            self.both += is_there and here is not None and here["state"] not in ("moving", "deleting")


@pytest.fixture(scope="module")
def nases(tmp_path_factory: pytest.TempPathFactory, real_broker: RealBroker) -> Iterator[Nases]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    made = Nases(tmp_path_factory.mktemp("kills"), real_broker, real_broker.fresh_nas(), port)
    made.prepare()
    for node in (NAS, made.other):
        made.start(node)
    yield made
    for node in (NAS, made.other):
        made.kill(node)


def complete(nases: Nases, zvol: str, victim: str) -> None:
    """Repeat the command until it succeeds; a daemon that has died is started again."""
    end_at = time.monotonic() + _SECONDS
    while not nases.attempt(zvol):
        assert time.monotonic() < end_at, f"{zvol}: {nases.row(NAS, zvol)} {nases.row(nases.other, zvol)}"
        if nases.has_died(victim):
            nases.start(victim)


def check_moved(nases: Nases, zvol: str, before: Volume) -> None:
    """All of it is on the second NAS, under its name, and nothing else remains of the move."""
    there = nases.volume(nases.other, f"tank/{zvol}")
    assert there is not None
    assert [one.guid for one in there.snapshots[:-1]] == [one.guid for one in before.snapshots]
    blocks = {number: block.data for number, block in before.blocks.items()}
    assert {number: block.data for number, block in there.blocks.items()} == blocks
    assert nases.volume(nases.other, arriving_volume("tank", zvol)) is None
    here, row = nases.row(NAS, zvol), nases.row(nases.other, zvol)
    assert here is not None and row is not None and here["image_id"] != row["image_id"]
    assert (here["state"], here["peer"], row["state"], row["peer"]) == (
        "deleting",
        nases.other,
        "unmapped",
        None,
    )


def move_with_a_death(nases: Nases, zvol: str, victim: str, die_at: int) -> bool:
    """Move the image while the daemon dies at that moment; returns whether it did."""
    nases.adopt(zvol)
    before = nases.volume(NAS, f"tank/{zvol}")
    assert before is not None
    nases.start(victim, die_at)
    starts = nases.starts
    owners = Owners(nases, zvol)
    try:
        complete(nases, zvol, victim)
        died = nases.starts > starts or nases.has_died(victim)
        nases.passed = nases.moments(victim)
        if nases.has_died(victim) or not died:
            nases.start(victim)  # one that lives still waits for its moment
        owners.wait_for_look()
    finally:
        owners.close()
    assert owners.looks > 0 and owners.both == 0
    check_moved(nases, zvol, before)
    return died


@pytest.mark.parametrize("is_source", [True, False], ids=["source", "target"])
def test_daemon_that_dies_at_any_moment_of_a_move(nases: Nases, is_source: bool) -> None:
    """The image is whole on the second NAS in the end, and never usable on both."""
    victim = NAS if is_source else nases.other
    first = 0 if is_source else VOLUMES // 2
    zvol = f"vm-{first}"
    assert move_with_a_death(nases, zvol, victim, 0) is False
    moments = nases.passed
    assert moments > 20
    tried = list(range(1, moments + 1, max(1, moments // DEATHS)))[: VOLUMES // 2 - 2]
    died = [
        move_with_a_death(nases, f"vm-{first + number}", victim, die_at)
        for number, die_at in enumerate(tried, 1)
    ]
    # the number of moments differs a little from move to move
    assert sum(died) > len(died) // 2
