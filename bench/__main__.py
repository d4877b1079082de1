"""`make bench`: builds its own site, measures there and in the lab, prints one table and removes the site.

`make bench FIGURES="R1 R4"` measures only those; INTO=FILE writes the output into a page, between its markers: of some
figures their rows alone.
Needs root.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from bench import (
    far_hosts,
    ganeti,
    image_copies,
    image_to_ssh,
    lab_part,
    live_moves,
    machine,
    many_hosts,
    many_vms,
    one_start,
    page,
    size,
    start_up,
    table,
)
from bench.computesets import site as computesets
from bench.images.figures import FIGURES
from bench.nucleus import many_owners, owners, reservations
from bench.site import STATE, BenchSite
from bench.table import Row
from lab.processes import locked
from lab.progress import Progress
from rocks.core.errors import RocksError, UserError

EXIT_INTERRUPTED = 130
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Part(NamedTuple):
    """A part of the work on the site without the lab: its figures, its title for the progress, its function.

    `dependents` are figures of other parts, which need this one.
    """

    numbers: tuple[str, ...]
    what: str
    work: Callable[[BenchSite], list[Row] | None]
    dependents: tuple[str, ...] = ()


_OWN_NUMBERS = {
    "R2",
    "R8",
    "R9",
    "R10",
    "R16",
    "R18",
    "R20",
    "R21",
    "R22",
    "R23",
    "R26",
    "R27",
    "R28",
    "R30",
    "R31",
    "R32",
    "R33",
    "R36",
}
_PARTS = (
    Part(
        (),
        "the cluster database",
        BenchSite.describe,
        tuple(_OWN_NUMBERS - {"R18", "R22", "R23", "R26", "R27", "R28", "R30", "R31", "R32", "R33"}),
    ),
    Part(("R36",), "Ganeti of Debian beside this site", ganeti.measure),
    Part(("R8",), "start-up", start_up.measure),
    Part(("R16",), "a large cluster is added", many_vms.measure),
    Part(("R10", "R20"), "a site of 2,000 hosts and 20,000 virtual machines", size.measure),
    Part(("R10", "R22", "R23", "R31"), "owners of 20,000 virtual machines", owners.measure),
    Part(("R30",), f"{many_owners.OWNERS} owners at once", many_owners.measure),
    Part(("R32",), f"{reservations.SITES} sites with reservations", reservations.measure),
    Part((), f"{far_hosts.COUNT} far hosts and their virtual machines", far_hosts.bring_up, ("R2", "R9")),
    Part(("R2",), "one start", one_start.measure),
    Part(("R9",), "many starts", many_hosts.measure),
    Part(("R18",), "from an image to an answer by SSH", image_to_ssh.measure),
    Part(("R18",), "an image is copied to a host", image_copies.measure),
    Part(("R21",), "a running machine moves", live_moves.measure),
    Part(("R26", "R28"), "computesets in Slurm", computesets.measure_starts),
    Part(("R33",), "reservations in Slurm", computesets.measure_begins),
    Part(("R27",), f"computesets in a Slurm of {computesets.HOST_COUNT} hosts", computesets.measure_rounds),
)
_BY_KVM, _BY_EMULATION = "KVM", "guests by emulation (TCG)"
_BUSY_LOAD = 0.5
"""Load of the last minute above which other programs influence the figures."""


def main(arguments: Sequence[str]) -> int:
    """Measure and print; returns the exit status: 0 with a table, which gives the reason for each missing figure."""
    try:
        if os.geteuid() != 0:
            raise UserError("make bench needs root: run it as root, or with sudo")
        into, numbers = _read_arguments(arguments)
        if into is not None:
            page.check_markers(into)
        STATE.mkdir(exist_ok=True)
        with locked(STATE / "bench.lock", "another make bench of this checkout runs; wait for it"):
            run, rows, tables = _bench(BenchSite(STATE / "bench"), numbers)
        print(page.output(run, rows, tables))
        if into is not None:
            page.put_figures(into, numbers, run, rows, tables)
    except RocksError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("\ninterrupted; the bench has removed its site", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _read_arguments(arguments: Sequence[str]) -> tuple[Path | None, set[str]]:
    pages = [argument.removeprefix("into=") for argument in arguments if argument.startswith("into=")]
    numbers = {argument for argument in arguments if not argument.startswith("into=")}
    known = {*_OWN_NUMBERS, *(number for figure in FIGURES for number in figure.numbers)}
    for argument in sorted(numbers - known):
        listed = " ".join(sorted(known, key=table.place))
        raise UserError(f"{argument} is not a figure of this bench; choose from {listed}")
    return Path(pages[-1]) if pages else None, numbers


def _bench(site: BenchSite, numbers: set[str]) -> tuple[str, list[Row], Sequence[str]]:
    """Measure all figures, or those of these numbers; a line about the run, rows, and further tables."""
    begin = time.monotonic()
    progress = Progress(lambda line: print(line, file=sys.stderr, flush=True))
    load = machine.load()
    if load > _BUSY_LOAD:
        progress.print(f"Other programs run on this machine (load {load:.1f}) and influence the times.")
    for number in _ENDING:
        signal.signal(number, _interrupt)
    here = _measure_here(site, progress, numbers) if not numbers or numbers & _OWN_NUMBERS else []
    in_lab = lab_part.measure(numbers)
    rows = sorted([*here, *in_lab.rows], key=lambda row: table.place(row.number))
    conditions = [_BY_KVM if site.has_kvm else _BY_EMULATION] if here else []
    conditions += [f"other programs run: load {load:.1f}"] if load > _BUSY_LOAD else []
    print(f"\nmeasured in {time.monotonic() - begin:.0f} s", file=sys.stderr)
    return machine.describe(*conditions), rows, in_lab.tables


def _measure_here(site: BenchSite, progress: Progress, numbers: set[str]) -> list[Row]:
    """The figures without the lab, on a site of the bench."""
    requested = numbers or _OWN_NUMBERS
    try:
        site.tear_down()  # the rest of a killed run
        site.bring_up(progress)
        rows = _do_parts(site, progress, requested)
    except RocksError as error:
        rows = [table.not_measured(number, "", str(error)) for number in _OWN_NUMBERS & requested]
    finally:
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)
        with progress.step("removing all of it"):
            site.tear_down()
        for number in _ENDING:
            signal.signal(number, _interrupt)
    return rows


def _do_parts(site: BenchSite, progress: Progress, requested: set[str]) -> list[Row]:
    """A part that fails loses its own figures and those of its dependents."""
    rows: list[Row] = []
    why: dict[str, str] = {}
    for part in _PARTS:
        if not requested & {*part.numbers, *part.dependents}:
            continue
        if not why.keys() & set(part.numbers):
            try:
                with progress.step(" ".join([*part.numbers, part.what])):
                    rows += part.work(site) or []
                continue
            except RocksError as error:
                progress.print(f"  {error}")
                why |= dict.fromkeys([*part.numbers, *part.dependents], str(error))
        reason = next(why[number] for number in part.numbers if number in why)
        rows += [table.not_measured(number, part.what, why.get(number, reason)) for number in part.numbers]
    return rows


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
