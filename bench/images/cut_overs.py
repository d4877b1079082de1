"""R3, and R4 with a writer: six images become local below a writer that never pauses; the stalls of the writer."""

from __future__ import annotations

import bisect
import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from bench.images.copying import by_socat, received
from bench.images.site import HOST_POOL, NAS, ImageSite, wait_until
from bench.table import Found, Row, not_measured, without_goal
from bench.timing import typical
from rocks.core.errors import ToolError

CUT_OVERS = 6
LIMIT_SECONDS = 0.05
RATE_LIMIT = 0.75
WHAT = "stall at cut-over"
RATE_WHAT = "the same with a writer that never pauses, on the disk that is being copied"
FLOOR_WHAT = "the same / by socat beside the same writer, on a volume of the host"
_FLOOR_ROUNDS = 3
_FLOOR = f"{HOST_POOL}/floor"

_BLOCKS = 2048
"""The writer's part of the disk, 8 MiB: it must be read before the writing begins, from the NAS."""

_LOG, _TIMES = "/var/log/writer.log", "/root/writer.times"
_SWITCHED = re.compile(r"(\S+) switched to (\w+): no I/O for ([\d.]+) ms, begun ([\d.]+) s ago$")
_KINDS = {("origin", "Linear"): "A", ("snap", "SnapshotMerge"): "B", ("snap", "Linear"): "C"}
_MEANING = {"A": "to the copy", "B": "the merge begins", "C": "the merge has ended"}
_SLACK_SECONDS = 0.05
"""How much later than its event a daemon's line may be logged, under emulation."""

_WARM_UP_SECONDS = 0.2
_BOUNDS_MS = (5, 10, 20, 50, 100, 200, 500, 1000)


class Switch(NamedTuple):
    """One switch: which, when it began, how long the kernel let no request pass, and the writer's longest wait."""

    kind: str
    at: float
    kernel_seconds: float
    seen_seconds: float


class CutOver(NamedTuple):
    """One image's way: its switches, the longest wait during the copy, the rate of the copy."""

    switches: tuple[Switch, ...]
    copy_seconds: float
    rate: float


def measure(site: ImageSite) -> Found:
    """Six cut-overs, one after the other. ToolError when a block differs from the data written."""
    done = [_cut_over(site, f"cut-{number}") for number in range(CUT_OVERS)]
    rows = [*(_row(kind, done) for kind in _MEANING), *_rate_rows(site, done)]
    return Found(rows, (histogram(done),))


def histogram(done: Sequence[CutOver]) -> str:
    """A histogram of the stalls."""
    header = "".join(f" {f'<={bound} ms':>9}" for bound in _BOUNDS_MS) + f" {'longer':>9}   median, longest"
    lines = [f"{'':44}{header}"]
    for kind, meaning in _MEANING.items():
        seen = [switch.seen_seconds for switch in _of(kind, done)]
        kernel = [switch.kernel_seconds for switch in _of(kind, done)]
        lines.append(_histogram(f"{kind} ({meaning}), the writer's wait", seen))
        lines.append(_histogram(f"{kind}, no I/O in the kernel", kernel))
    lines.append(_histogram("the longest wait while copying", [one.copy_seconds for one in done]))
    title = f"Stalls of {len(done)} cut-overs below a writer that never pauses:"
    return "\n".join([title, "", "```", *lines, "```"])


def _cut_over(site: ImageSite, volume: str) -> CutOver:
    host = site.host
    begin = site.clock(host)
    host.run(["rm", "-f", _LOG, _TIMES])
    site.add_clone(volume)
    device = site.map(volume)
    host.start_program("writer", ["/root/model_writer", "-b", str(_BLOCKS), "-t", _TIMES, device])
    site.done(
        "set", "host", "zvolattr", NAS, volume, "persistent", "no"
    )  # its writes need not be written back
    site.wait_until_local(host, volume)
    host.run(["systemctl", "stop", "writer"], 60)
    lines = [json.loads(line) for line in host.read_file(_LOG).decode().splitlines()]
    wrong = [line for line in lines if line.get("mismatches") or line.get("errors")]
    if wrong or not any(line["event"] == "final" for line in lines):
        raise ToolError(f"the writer on {volume} did not read the data that it had written: {wrong or lines}")
    found = judge(site, volume, begin)
    site.unmap(volume)
    site.remove_image(volume)
    return found


def judge(site: ImageSite, volume: str, since: float) -> CutOver:
    """The writer's waits during a finished cut-over, by its own times and the log of the host's daemon."""
    lines = [line.split() for line in site.host.read_file(_TIMES).decode().splitlines()]
    requests = [(float(at), float(took)) for at, took, _ in lines]
    wait_until(
        lambda: len(_switches(site, volume, since)) == len(_MEANING), f"all switches of {volume} to be logged"
    )
    switches = []
    for kind, began, kernel in _switches(site, volume, since):
        longest = longest_wait(requests, began - _SLACK_SECONDS, began + kernel + _SLACK_SECONDS)
        switches.append(Switch(kind, began, kernel, longest))
    first = min(switch.at for switch in switches)
    copying = longest_wait(requests, requests[0][0] + _WARM_UP_SECONDS, first - _SLACK_SECONDS, whole=True)
    return CutOver(tuple(switches), copying, received(site, volume, since).rate)


def _switches(site: ImageSite, volume: str, since: float) -> list[tuple[str, float, float]]:
    """The switches in the daemon's log so far: kind, begin, and the seconds in which the kernel let no request pass.

    A switch is logged when the kernel has removed the old table: the last one some time after the image is local.
    """
    switches = []
    for at, line in site.logged(site.host, since):
        found = _SWITCHED.search(line)
        if found is not None and found.group(1).startswith(f"{volume}-"):
            kind = _KINDS[(found.group(1).rpartition("-")[2], found.group(2))]
            switches.append((kind, at - float(found.group(4)), float(found.group(3)) / 1000))
    return switches


def longest_wait(requests: list[tuple[float, float]], begin: float, end: float, whole: bool = False) -> float:
    """The longest of the requests that overlap that time; `whole`: of those inside it."""
    after = bisect.bisect_left(requests, (end, 0.0))
    longest = 0.0
    for at, took in requests[:after]:
        if (at >= begin and at + took <= end) if whole else at + took >= begin:
            longest = max(longest, took)
    return longest


def _of(kind: str, done: Sequence[CutOver]) -> list[Switch]:
    return [switch for one in done for switch in one.switches if switch.kind == kind]


def _row(kind: str, done: Sequence[CutOver]) -> Row:
    """Met when no switch was longer than the longest wait of its own copy phase."""
    pairs = [
        (switch.seen_seconds, one.copy_seconds)
        for one in done
        for switch in one.switches
        if switch.kind == kind
    ]
    shorter = sum(seen <= copying for seen, copying in pairs)
    kernel = [1000 * switch.kernel_seconds for switch in _of(kind, done)]
    seen = [1000 * one for one, _ in pairs]
    copying = [1000 * one for _, one in pairs]
    how = (
        f"the writer's longest wait, median and longest of {len(pairs)}; no I/O for {typical(kernel):.0f} ms (longest "
        f"{max(kernel):.0f}) by the kernel; longest wait while copying {typical(copying):.0f} ms (longest "
        f"{max(copying):.0f}); shorter than that in {shorter} of {len(pairs)}; the goal of {LIMIT_SECONDS * 1000:.0f} "
        "ms is for hardware"
    )
    found = f"{typical(seen):.0f} ms, {max(seen):.0f} ms"
    goal = "<= longest while copying"
    return Row("R3", f"{WHAT}: {kind}, {_MEANING[kind]}", found, goal, shorter == len(pairs), how)


def _rate_rows(site: ImageSite, done: Sequence[CutOver]) -> list[Row]:
    if site.socat_rate is None:
        return [not_measured("R4", RATE_WHAT, "the stream through socat was not measured before")]
    rate, floor = typical([one.rate for one in done]), _rate_beside_a_writer(site)
    ratio = rate / site.socat_rate
    by_itself = f"{site.socat_rate / 1e6:.1f} MB/s by socat without any guest"
    how = f"{rate / 1e6:.1f} MB/s, median of {len(done)}, / {by_itself}"
    beside = f"{rate / 1e6:.1f} MB/s / {floor / 1e6:.1f} MB/s, median of {_FLOOR_ROUNDS}; nothing of ours runs then"
    return [
        Row("R4", RATE_WHAT, f"{ratio:.2f}", f">= {RATE_LIMIT:.2f}", ratio >= RATE_LIMIT, how),
        without_goal("R4", FLOOR_WHAT, f"{rate / floor:.2f}", beside),
    ]


def _rate_beside_a_writer(site: ImageSite) -> float:
    """What ZFS and socat reach while the writer is at work on a disk of the host that nothing copies."""
    host = site.host
    host.shell(f"zfs create -s -V 64M -o volblocksize=16k {_FLOOR}\nudevadm settle\n")
    try:
        host.start_program("writer", ["/root/model_writer", "-b", str(_BLOCKS), f"/dev/zvol/{_FLOOR}"])
        return typical([by_socat(site) for _ in range(_FLOOR_ROUNDS)])
    finally:
        host.run(["systemctl", "stop", "writer"], 60)
        host.shell(f"for try in 1 2 3 4 5 6; do zfs destroy {_FLOOR} && exit 0; sleep 1; done; exit 1\n")


def _histogram(name: str, values: list[float]) -> str:
    counts = [0] * (len(_BOUNDS_MS) + 1)
    for value in values:
        counts[bisect.bisect_left(_BOUNDS_MS, 1000 * value)] += 1
    cells = "".join(f" {count or '.':>9}" for count in counts)
    return f"{name:44}{cells}   {1000 * typical(values):.0f} ms, {1000 * max(values):.0f} ms"
