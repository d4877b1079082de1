"""`make bench`: build a site of its own, measure, print one table, leave nothing behind; needs root."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from bench import far_hosts, machine, many_hosts, many_vms, one_start, start_up, table
from bench.site import STATE, BenchSite
from bench.table import Row
from lab.progress import Progress
from rocks.errors import BusyError, RocksError, UserError

EXIT_INTERRUPTED = 130
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Measure and print; returns the exit status: 0 when all was measured, whatever the verdicts are."""
    try:
        if os.geteuid() != 0:
            raise UserError("make bench needs root: run it as root, or with sudo")
        STATE.mkdir(exist_ok=True)
        with _alone():
            _bench(BenchSite(STATE / "bench"))
    except RocksError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("\ninterrupted; nothing of the bench is left", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _bench(site: BenchSite) -> None:
    begin = time.monotonic()
    progress = Progress(lambda line: print(line, file=sys.stderr, flush=True))
    for number in _ENDING:
        signal.signal(number, _interrupt)
    try:
        site.tear_down()  # what a killed run left
        site.bring_up(progress)
        rows = _measure(site, progress)
        words = machine.describe("KVM" if site.has_kvm else "guests by emulation (TCG)")
    finally:
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)
        with progress.step("removing all of it"):
            site.tear_down()
    print(f"{words}\n\n{table.markdown(rows)}")
    print(f"\nmeasured in {time.monotonic() - begin:.0f} s", file=sys.stderr)


def _measure(site: BenchSite, progress: Progress) -> list[Row]:
    with progress.step("the cluster database"):
        site.describe()
    with progress.step("R8: start-up"):
        rows = start_up.measure(site)
    with progress.step("R16 and R10: a cluster is added, very many virtual machines are listed"):
        rows += many_vms.measure(site)
    with progress.step(f"{far_hosts.COUNT} far hosts and their virtual machines"):
        far_hosts.bring_up(site)
    with progress.step("R2: one start"):
        rows += one_start.measure(site)
    with progress.step("R9: many starts"):
        rows += many_hosts.measure(site)
    return sorted(rows, key=lambda row: int(row.number[1:]))


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _alone() -> Iterator[None]:
    with (STATE / "bench.lock").open("w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError("another make bench of this checkout is at work; wait for it") from None
        yield


if __name__ == "__main__":
    sys.exit(main())
