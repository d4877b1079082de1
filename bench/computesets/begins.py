"""R33, inside the machine: how soon after the begin of a reservation its cluster boots, with the hooks on all hosts.

`python -m bench.computesets.begins FOLDER` prints the row as JSON. The programs are those of `starts`.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.computesets.starts import Owner, nucleus, soon, wait_until_idle
from bench.table import Row, at_most
from bench.timing import typical
from owners.reservations.work import BOOT

_TIMES = 5
_AHEAD = timedelta(seconds=5)
_CPUS = 2
_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEpmvZ7QZ9bJc1bS7yXg0mB1hQdCkV2y3d5mYJ0Xh8aB bench"


def _reserve(owner: Owner, begin: datetime) -> int:
    """A reservation of this site from that moment on; the number of its interval."""
    body = {
        "site": "here", "vc": "dock6", "begin": begin.isoformat(), "end": (begin + timedelta(hours=1)).isoformat(),
        "cpus": _CPUS, "memory_gb": 1, "public_key": _KEY,
    }  # fmt: skip
    owner.request("POST", "/v1/reservation", json.dumps(body).encode())
    with owner.pool.transaction() as session:
        return int(session.value("SELECT MAX(id) FROM reservation_interval"))


def _is_booting(owner: Owner, interval: int) -> bool:
    """Whether the hosts are held, and `rocks pragma boot` is the next."""
    with owner.pool.transaction() as session:
        found = session.rows("SELECT arguments, progress FROM operation WHERE kind = %s", (BOOT,))
    return any(
        json.loads(arguments)["interval"] == interval and '"boot"' in progress
        for arguments, progress in found
    )


def _take(owner: Owner) -> float:
    """Seconds from the begin of a reservation to its boot, all hosts idle before."""
    wait_until_idle()
    begin = datetime.now(UTC).replace(microsecond=0) + _AHEAD
    interval = _reserve(owner, begin)
    at_begin = time.monotonic() + (begin - datetime.now(UTC)).total_seconds()
    # the played rocks has no cluster of it, so it ends by itself
    return soon(lambda: _is_booting(owner, interval)) - at_begin


def _measure(owner: Owner) -> list[Row]:
    with owner.pool.transaction() as session:
        session.insert(
            "reservation_site", {"name": "here", "cpus": 1000, "memory_gb": 1000, "is_available": True}
        )
    took = [_take(owner) for _ in range(_TIMES)]
    wait_until_idle()
    how = f"median of {_TIMES}, longest {max(took):.2f} s; sbatch, the job of the reservation and its prolog, squeue"
    what = "begin of a reservation → first command of its boot, hosts idle in Slurm"
    return [at_most("R33", what, typical(took), 2, "s", how)]


if __name__ == "__main__":
    with nucleus(Path(sys.argv[1])) as measured:
        print(json.dumps(_measure(measured)))
