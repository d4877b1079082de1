"""A NAS that makes a base and its clones, and is killed by SIGKILL: at each change, line and record.

Each death is followed by a new daemon and by the request again. `make test-random` kills at every moment.
"""

from __future__ import annotations

import os
import pickle
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rocks.core.errors import RocksError
from rocks.core.image_blocks import content_of
from rocks.storage.client.importing import Destination, send_base
from rocks.storage.stream.transport import client_context
from rocks.storage.wire import requests as wire
from rocks.storage.wire.bases import base_snapshot, base_volume
from rocks.storage.zfs.fake.pools import FakePools
from tests.generated import PROFILE
from tests.system.imgstorage.conftest import RealBroker
from tests.system.imgstorage.image_site import FRONTEND, NAS, ImageSite, Machine
from tests.system.imgstorage.test_nas_move_kills import Nases

pytestmark = pytest.mark.moments
SIZE = 2_000_000
DEATHS = 1000 if PROFILE == "random" else 3
_SECONDS = 60.0


class OneNas(Nases):
    """One daemon in a process of its own, and the frontend that sends it an image."""

    def __init__(self, folder: Path, broker: RealBroker, port: int) -> None:
        super().__init__(folder, broker, NAS, port)
        self.port = port
        self.context = client_context(Machine(FRONTEND, folder / "frontend", broker).identity)
        self.site = ImageSite(folder / "asker", broker, port)  # its daemons are never started

    def prepare(self) -> None:
        """An empty pool."""
        (self.folder / f"{NAS}.pools").write_bytes(pickle.dumps(FakePools().fake.pools))

    def pools(self) -> FakePools:
        """Its pools as they are on its disks."""
        pools = FakePools()
        pools.fake.pools = pickle.loads((self.folder / f"{NAS}.pools").read_bytes())
        return pools

    def make(self, file: Path, digest: str, clones: tuple[str, ...]) -> bool:
        """What a start does; False when it fails, and is to be repeated."""
        descriptor = os.open(file, os.O_RDONLY)
        try:
            made = self.site.ask(wire.AddBase("tank", digest, SIZE, SIZE, "debian"), NAS, 3)
            volume = f"tank/{base_volume(digest)}"
            if not made["complete"]:
                place = Destination(NAS, "127.0.0.1", self.port, volume, made["guid"], made["size_bytes"])
                send_base(descriptor, place, self.context, lambda progress: None, SIZE)
            new = tuple(wire.NewClone(name, base_snapshot(digest), 2 * SIZE) for name in clones)
            return not self.site.ask(wire.CloneZvols("tank", new), NAS, 3)["missing"]
        except (RocksError, OSError):
            return False
        finally:
            os.close(descriptor)


@pytest.fixture(scope="module")
def nas(tmp_path_factory: pytest.TempPathFactory, real_broker: RealBroker) -> Iterator[OneNas]:
    """The daemon."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    made = OneNas(tmp_path_factory.mktemp("kills"), real_broker, port)
    made.prepare()
    yield made
    made.kill(NAS)


def make_with_a_death(nas: OneNas, file: Path, number: int, die_at: int) -> bool:
    """Make a base and two clones while the daemon dies at that moment; returns whether it did."""
    content = os.urandom(SIZE // 2)
    with file.open("wb") as target:
        target.write(content)
        target.truncate(SIZE)
    descriptor = os.open(file, os.O_RDONLY)
    digest = content_of(descriptor).digest
    os.close(descriptor)
    clones = (f"vm-{number}-0-vol", f"vm-{number}-1-vol")
    nas.start(NAS, die_at)
    died = False
    end_at = time.monotonic() + _SECONDS
    while not nas.make(file, digest, clones):
        assert time.monotonic() < end_at
        if nas.has_died(NAS):
            died = True
            check_no_half_base(nas, digest, content, clones)
            nas.start(NAS)
    nas.passed = nas.moments(NAS)
    check_no_half_base(nas, digest, content, clones)
    pools = nas.pools()
    for name in clones:
        fact = pools.read_volume(f"tank/{name}")
        assert fact is not None and fact.size_bytes >= 2 * SIZE
    return died


def check_no_half_base(nas: OneNas, digest: str, content: bytes, clones: tuple[str, ...]) -> None:
    """A base with its snapshot is whole, read only; clones are of it."""
    pools = nas.pools()
    base = f"tank/{base_volume(digest)}"
    fact = pools.read_volume(base)
    is_complete = pools.read_history(base).snapshot("base") is not None
    if is_complete:
        assert fact is not None and fact.is_read_only
        assert pools.read(f"{base}@base", SIZE) == content.ljust(SIZE, b"\0")
    for name in clones:
        clone = pools.read_volume(f"tank/{name}")
        assert clone is None or (is_complete and clone.origin == f"{base}@base")
        assert clone is None or pools.read(f"tank/{name}", SIZE) == content.ljust(SIZE, b"\0")


def test_no_half_made_base_is_ever_used(nas: OneNas, tmp_path: Path) -> None:
    """The request again completes it, whenever the daemon died."""
    file = tmp_path / "image"
    assert make_with_a_death(nas, file, 0, 0) is False
    moments = nas.passed
    assert moments > 15
    tried = list(range(1, moments + 1, max(1, moments // DEATHS)))
    died = [make_with_a_death(nas, file, number, die_at) for number, die_at in enumerate(tried, 1)]
    assert sum(died) > len(died) // 2
