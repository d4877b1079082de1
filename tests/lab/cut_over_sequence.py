"""A cut-over by `rocks.storage.device_mapper.dm_devices`, step by step; carried to a lab machine and run there.

    python3 cut_over_sequence.py begin | move | merge | end | remove | kills

One JSON object a line: the step, and how long the disk stood still. Volumes: /dev/zvol/vmpool/{remote,local,cow}.
"""

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from rocks.core.clock import Deadline
from rocks.core.errors import BusyError, RocksError
from rocks.storage.device_mapper.dm_devices import DmDevices
from rocks.storage.device_mapper.tables import Linear, Snapshot, SnapshotMerge, Table

DISK, ORIGIN = "disk", "disk-origin"
_POOL = Path("/dev/zvol/vmpool")
_MERGE_SECONDS = 200.0
_SWITCH_SECONDS, _PAUSE_SECONDS = 180.0, 1.0
_KILLS = 16
_LONGEST_MOVE_SECONDS = 3.0
_SWITCHER_SECONDS = 1.0


def main(step: str) -> None:
    """Run one step and report its stall."""
    length = int(Path("/sys/block", (_POOL / "remote").resolve().name, "size").read_text("ascii"))
    remote, local = (Linear(length, str(_POOL / name)) for name in ("remote", "local"))
    snapshot = Snapshot(length, f"/dev/mapper/{ORIGIN}", str(_POOL / "cow"))
    merge = SnapshotMerge(snapshot.length_sectors, snapshot.origin, snapshot.cow)
    mappings = DmDevices()
    if step == "begin":
        mappings.ensure(ORIGIN, remote)
        mappings.ensure(DISK, snapshot)
    elif step == "move":
        report(step, switched(mappings, ORIGIN, local, remote))
    elif step == "merge":
        report(step, switched(mappings, DISK, merge, snapshot))
    elif step == "end":
        wait_until_merged(mappings)
        report(step, switched(mappings, DISK, local, merge))
        mappings.ensure_gone(ORIGIN, Deadline(20))
    elif step == "remove":
        mappings.ensure_gone(DISK, Deadline(20))
    elif step == "kills":
        kill_moves(mappings, remote, local)
    else:
        raise SystemExit(f"no step {step}")


def switched(mappings: DmDevices, name: str, table: Table, live: Table) -> float:
    """The stall in seconds. As by the daemon, a switch that was given up for its length is tried again.

    How often depends on the machine's disks, which may be slow for a minute; a refused switch keeps its table.
    """
    deadline = Deadline(_SWITCH_SECONDS)
    while True:
        try:
            return mappings.switch(name, table, live).stall_seconds
        except BusyError as refused:
            if deadline.passed():
                raise
            print(f"{name}: {refused}", file=sys.stderr, flush=True)
            assert mappings.is_live(name, live)
        time.sleep(_PAUSE_SECONDS)


def kill_moves(mappings: DmDevices, remote: Linear, local: Linear) -> None:
    """Begin to move the origin, and kill its process some time later; report the state after it."""
    for number in range(_KILLS):
        before = mappings.read(ORIGIN)
        tables = (local, remote) if mappings.is_live(ORIGIN, remote) else (remote, local)
        mover = os.fork()
        if mover == 0:
            with contextlib.suppress(RocksError):
                mappings.switch(ORIGIN, *tables)
            os._exit(0)
        time.sleep(_LONGEST_MOVE_SECONDS * number / _KILLS)
        os.kill(mover, signal.SIGKILL)
        os.waitpid(mover, 0)
        time.sleep(_SWITCHER_SECONDS)  # a switcher that got the order to go carries it out
        after = mappings.read(ORIGIN)
        reported = {"suspended": after.is_suspended, "moved": before.table != after.table}
        print(json.dumps({**reported, "loaded": after.loaded_table is not None}), flush=True)
        mappings.ensure_resumed(ORIGIN)


def wait_until_merged(mappings: DmDevices) -> None:
    """Until the COW holds nothing but metadata, as the writer goes on."""
    end_at = time.monotonic() + _MERGE_SECONDS
    while time.monotonic() < end_at:
        fact = mappings.read(DISK)
        if fact is not None and fact.status is not None and fact.status.is_merged:
            return
        time.sleep(0.1)
    raise SystemExit("it was not merged")


def report(step: str, stall_seconds: float) -> None:
    """A line for the test."""
    print(json.dumps({"step": step, "stall": stall_seconds}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
