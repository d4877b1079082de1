"""A NAS daemon in a process of its own: `python -m tests.system.imgstorage.nas_process SPEC.json`.

Its pools are in a file that is written after every change, so it can be killed at any moment. After it has printed
`ready` it counts the moments at which it could be killed: before and after each change of a pool, each commit of its
records, each line and each part of a stream. At the moment `die_at` it kills itself by SIGKILL.
"""

import itertools
import json
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rocks.storage import exchange
from rocks.storage.bus import BusSettings
from rocks.storage.configuration import Configuration
from rocks.storage.iscsi_target.fake import FakeTargets
from rocks.storage.life.names import target_prefix
from rocks.storage.nas import arrivals, move_lines, moves
from rocks.storage.nas.service import Devices, NasService
from rocks.storage.store.file import StoreFile
from rocks.storage.stream.transport import Identity
from rocks.storage.zfs.fake import contents
from rocks.storage.zfs.fake.pools import FakePools
from tests.system.imgstorage.image_site import address_of
from tests.unit.storage.memory_nodes import FRONTEND, HalvingWriter, PoolDevices, VolumeFile

_LINES = (arrivals, moves, move_lines, exchange)


class Moments:
    """Counts the moments, and ends the process at one of them."""

    def __init__(self, die_at: int, trace: Path) -> None:
        self._die_at = die_at
        self._trace = trace
        self._count = 0
        self._lock = threading.Lock()
        self.counts = False

    def pass_one(self, name: str) -> None:
        """One more, unless the daemon is still starting."""
        with self._lock:
            if not self.counts:
                return
            self._count += 1
            with self._trace.open("a") as trace:
                trace.write(f"{name}\n")
            if self._count == self._die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def around(self, name: str, call: Callable[..., Any], after: Callable[[], None] | None = None) -> Any:
        """The call, with a moment before it and one behind."""

        def called(*arguments: Any, **more: Any) -> Any:
            self.pass_one(f"before {name}")
            try:
                return call(*arguments, **more)
            finally:
                if after is not None:
                    after()
                self.pass_one(f"after {name}")

        return called


def stored_pools(path: Path, moments: Moments) -> FakePools:
    """The pools in the file; every change is in it at once."""
    pools = FakePools()
    pools.fake.pools = pickle.loads(path.read_bytes())
    for pool in pools.fake.pools.values():
        for volume in pool.volumes.values():
            volume.is_open = volume.is_receiving = False
    lock = threading.Lock()

    def save() -> None:
        with lock:
            new = path.with_suffix(".new")
            new.write_bytes(pickle.dumps(pools.fake.pools))
            new.replace(path)

    receive = pools.start_receive

    def start_receive(spec: Any) -> Any:
        program = receive(spec)
        program.stream = HalvingWriter(
            program.stream, lambda: moments.pass_one("before a part of a stream"), save
        )  # type: ignore[misc]
        return program

    for name in dir(pools):
        if name.startswith("ensure_"):
            setattr(pools, name, moments.around(name, getattr(pools, name), save))
    pools.start_receive = start_receive  # type: ignore[method-assign]
    return pools


def kill_at_lines_and_commits(moments: Moments) -> None:
    """Lines between the daemons, and commits of records."""
    for module in _LINES:
        module.send_line = moments.around("a line", module.send_line)  # type: ignore[attr-defined]
    execute = StoreFile._execute

    def counted(store: StoreFile, sql: str, values: tuple[Any, ...] = ()) -> Any:
        if sql != "COMMIT":
            return execute(store, sql, values)
        return moments.around("a commit", execute)(store, sql, values)

    StoreFile._execute = counted  # type: ignore[method-assign,assignment]


def main(spec: dict[str, Any]) -> None:
    """Run the daemon until it is killed."""
    contents._numbers = itertools.count(int.from_bytes(os.urandom(6), "big"))  # of no other process
    folder, node = Path(spec["folder"]), str(spec["node"])
    moments = Moments(int(spec["die_at"]), folder / f"{node}.trace")
    pools = stored_pools(folder / f"{node}.pools", moments)
    kill_at_lines_and_commits(moments)
    targets = FakeTargets(target_prefix(node))
    targets.devices = PoolDevices(pools)
    pair, authority = Path(spec["pair"]), Path(spec["authority"])
    service = NasService(
        Configuration(node, FRONTEND, "local", "tank", 4, FRONTEND),
        Devices(pools, targets, lambda path: VolumeFile(pools, path)),  # type: ignore[arg-type,return-value]
        BusSettings(node, spec["address"], int(spec["port"]), "localhost", str(pair), str(authority)),
        Identity(pair, pair, authority),
        folder / f"{node}.db",
        int(spec["stream_port"]),
        address_of,
    )
    service.start()
    assert service.wait_until_connected(120)
    moments.counts = True
    print("ready", flush=True)
    signal.pause()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
