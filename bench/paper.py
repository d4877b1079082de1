"""`make paper`: numbers of the published documents beside those of `make bench`; nothing is measured here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench import page, table
from rocks.core.errors import RocksError, UserError

BENCH_PAGE = Path(__file__).parent.parent / "docs" / "evidence" / "benchmarks.md"
VERDICTS = ("reproduced", "scaled", "simulated", "needs hardware", "not reproducible", "not measured")
_COMET = "User Managed Virtual Clusters in Comet"
_STACK = "Virtualization: Control Your Stack"
_PRAGMA = "Building a persistent PRAGMA Cloud Testbed"


class Number(NamedTuple):
    """A number of a document: its title, at most 12 of its words, a verdict and its reason.

    `figure` is the number of a figure of `make bench` and the begin of its name, or empty.
    """

    document: str
    quote: str
    verdict: str
    reason: str
    figure: tuple[str, str] | None = None


NUMBERS = (
    Number(_PRAGMA, "(Takes about 40 minutes to launch a 2-node cluster)", "scaled",
           "one frontend without computes; ours is what the command and the copy of the image add to a bare boot",
           ("R18", "the same, the first time")),
    Number(_PRAGMA, "Boots within 6 mins but takes 2.5 hours to sync images", "scaled",
           "the boot: a small Linux guest at the beginning of sparse images of the lab",
           ("R35", "a start from a sparse image")),
    Number(_PRAGMA, "Boots within 6 mins but takes 2.5 hours to sync images", "scaled",
           "the copy: made by dd, a disk of 198 MiB in place of 39.5 GB", ("R35", "a disk stored by dd: rate")),
    Number(_PRAGMA, "Boots within 6 mins but takes 25 mins to sync images", "scaled",
           "the copy: blocks in use alone, 54 MiB in place of 10.7 GB",
           ("R35", "a disk stored by its blocks in use: rate")),
    Number(_COMET, "allows VMs to start booting almost instantly", "scaled",
           "an image of the lab that reads 64 MiB; the ratio is to a local disk", ("R1", "boot from the NAS")),
    Number(_COMET, "After migration is complete the VM is briefly paused", "scaled",
           "a program on the host writes, and no guest is paused; the longest wait while copying is the bound",
           ("R3", "stall at cut-over: A")),
    Number(_COMET, "great capabilities of scaling without putting load on the NAS", "scaled",
           "images of 64 MiB, which a program reads; once it is local a disk reads nothing from the NAS (R13)",
           ("R29", "16 images mapped")),
    Number(_COMET, "VM images backed up in case the physical node crashes", "scaled",
           "an emulated host is killed below a program that writes; the period is 10 s", ("R34", "age of a disk")),
    Number(_COMET, "can serve up to 140 new applicants", "simulated",
           "140 owners at once on one Nucleus; the site below it is played",
           ("R30", "140 owners at once: an answer")),
    Number(_COMET, "Over 15,000 SUs were used during 24 hours of activities", "simulated",
           "seconds of nodes that do not compute; with the 24 cores of a node of Comet about a twelfth of their SUs",
           ("R27", "300 sets")),
    Number(_PRAGMA, "10 nodes, each node with 16 CPUs and 32 GB memory", "simulated",
           "ten hosts that are records only; `pragma boot` fills them: tests/system/pragma/test_boot.py"),
    Number(_STACK, "28% slower w/ SR-IOV vs native IB", "needs hardware",
           "struck out on the slide; KVM and InfiniBand functions; `tools/paper-hardware` is to measure there"),
    Number(_STACK, "8% slower w/ SR-IOV vs native IB", "needs hardware",
           "KVM and InfiniBand functions; `tools/paper-hardware` is to measure there, and ran in emulated guests, pw.x "
           "over TCP"),
    Number(_STACK, "near-native InfiniBand latency/bandwidth", "needs hardware",
           "KVM and InfiniBand functions; `tools/paper-hardware` is to measure there, and ran in emulated guests, by "
           "rdma_rxe"),
    Number(_STACK, "500% faster than EC2", "not reproducible", "the slide does not name the machines"),
    Number(_COMET, "Comet has delivered 700,000 SUs to LIGO via OSG", "not reproducible",
           "the use of one project over years"),
)  # fmt: skip


def printed(bench_page: Path = BENCH_PAGE) -> str:
    """The table as Markdown. UserError without a page of the bench, or without the row of a figure there."""
    page.check_markers(bench_page)
    text = bench_page.read_text("utf-8").partition(page.BEGIN)[2].partition(page.END)[0].strip()
    measured = table.read_markdown("\n".join(line for line in text.splitlines() if line.startswith("|")))
    lines = [
        "| document | words, with their number | ours | both values, or the bound | verdict | reason | command |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(_line(number, measured, bench_page) for number in NUMBERS)])


def _line(number: Number, measured: Sequence[table.Row], bench_page: Path) -> str:
    found, how, command, verdict = "-", "-", "-", number.verdict
    if number.figure is not None:
        figure, begin = number.figure
        rows = [row for row in measured if row.number == figure and row.what.startswith(begin)]
        if not rows:
            raise UserError(f"{bench_page} has no row {figure} '{begin}': run make bench INTO={bench_page}")
        goal = f" (goal {rows[0].goal}: {rows[0].verdict})" if rows[0].goal else ""
        found, how = f"{figure}: {rows[0].found}{goal}", rows[0].how
        verdict = "not measured" if rows[0].found == "-" else verdict
        command = f'`make bench FIGURES="{figure}"`'
    cells = (number.document, f"`{number.quote}`", found, how, verdict, number.reason, command)
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str]) -> int:
    """Print the table, and put it into the page named by the argument; returns the exit status."""
    try:
        text = printed()
        print(text)
        for name in arguments:
            if Path(name).resolve() == BENCH_PAGE.resolve():
                raise UserError(f"{name} has the measurements themselves: choose INTO=docs/evidence/paper.md")
            page.check_markers(Path(name))
            page.put(Path(name), text)
    except RocksError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
