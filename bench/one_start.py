"""R2: from the launcher's exec to QEMU's exec on the host, over what `virsh start` of the same domain takes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bench import far_hosts
from bench.exec_watch import ExecWatch, now
from bench.site import FRONTEND, ROCKS, BenchSite
from bench.table import Row, at_most, without_goal
from bench.timing import in_turns, run_seconds, typical
from lab import libvirtd
from lab.namespace import Machine
from rocks.core.errors import ToolError

ROUNDS = 5
LIMIT_SECONDS = 0.3
ROUND_TRIPS = 4
_EMULATOR = "/usr/bin/qemu-system-x86_64"
_VIRSH = ("/usr/bin/virsh", "--quiet", "--connect", "qemu:///system")
_VIRSH_SECONDS = 60.0


class Way(NamedTuple):
    """One way to a host: its name in the table, the guest and its machine, and the extra limit for the line's delay."""

    what: str
    guest: str
    machine: Machine
    allowance_seconds: float


def measure(site: BenchSite) -> list[Row]:
    """On the frontend itself, by SSH without delay, and by SSH over a long line. The far hosts must be up."""
    real = site.hosts[0].machine
    site.add_guest("guest-local", FRONTEND, 11)
    site.add_guest("guest-near", far_hosts.NEAR, 12)
    line_ms = far_hosts.ROUND_TRIP_MS
    ways = [
        Way("on the frontend", "guest-local", site.frontend.machine, 0),
        Way("by SSH, no delay", "guest-near", real, 0),
        Way(
            f"by SSH, {line_ms} ms round trip", far_hosts.guests(site)[0], real, ROUND_TRIPS * line_ms / 1000
        ),
    ]
    taken: dict[Way, list[tuple[float, float]]] = {way: [] for way in ways}
    with ExecWatch(_EMULATOR) as watch:
        for _ in range(ROUNDS):
            for way in ways:
                taken[way].append(_one_round(site, way, watch))
    return [*(_row(way, taken[way]) for way in ways), _listed(site, ways[0])]


def _listed(site: BenchSite, way: Way) -> Row:
    """A listing that asks the host, beside that of its libvirt."""
    virsh = way.machine.command([*_VIRSH, "list", "--all"])
    rocks = [ROCKS, "list", "host", "vm", way.guest, "status=yes"]
    ours, theirs = (
        typical(seconds)
        for seconds in in_turns(
            [lambda: run_seconds(rocks, site.environment()), lambda: run_seconds(virsh, os.environ)], ROUNDS
        )
    )
    what = f"`rocks list host vm status=yes` / `virsh list --all`: {way.what}"
    return without_goal(
        "R2", what, f"{ours / theirs:.1f}", f"{ours:.2f} s / {theirs:.2f} s, medians of {ROUNDS}"
    )


def _one_round(site: BenchSite, way: Way, watch: ExecWatch) -> tuple[float, float]:
    """Seconds to QEMU's exec by `rocks start host vm`, and by `virsh start` of the domain that it defined."""
    environment = site.environment()
    by_rocks = _exec_seconds([ROCKS, "start", "host", "vm", way.guest], environment, way, watch)
    way.machine.run_checked([*_VIRSH, "destroy", way.guest], _VIRSH_SECONDS)
    virsh = way.machine.command([*_VIRSH, "start", way.guest])
    by_virsh = _exec_seconds(virsh, environment, way, watch)
    site.rocks("stop", "host", "vm", way.guest)
    return by_rocks, by_virsh


def _exec_seconds(
    command: Sequence[str], environment: Mapping[str, str], way: Way, watch: ExecWatch
) -> float:
    begin = now()
    run_seconds(command, environment)
    process = libvirtd.guests(way.machine).get(way.guest)
    if process is None:
        raise ToolError(f"{way.guest} does not run after {' '.join(command)}")
    return watch.executed(process.start_ticks) - begin


def _row(way: Way, taken: Sequence[tuple[float, float]]) -> Row:
    over = [by_rocks - by_virsh for by_rocks, by_virsh in taken]
    by_rocks, by_virsh = (typical(column) for column in zip(*taken, strict=True))
    return at_most(
        "R2",
        f"`rocks start host vm` to QEMU's exec, over `virsh start`: {way.what}",
        typical(over),
        LIMIT_SECONDS + way.allowance_seconds,
        "s",
        f"{by_rocks:.2f} s against {by_virsh:.2f} s, medians of {ROUNDS} pairs",
    )
