"""R2: from the exec of `rocks start host vm` to QEMU's, over that of `virsh start` of the same domain; then to
the end of the command; and sixteen starts at once.

virt-install, which defines and starts a machine, stands beside both commands that do the same here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from bench import far_hosts, peers
from bench.exec_watch import ExecWatch, now
from bench.site import FRONTEND, GUEST_MEMORY_MB, ROCKS, BenchSite
from bench.table import Row, at_most, not_measured, without_goal
from bench.timing import in_turns, run_seconds, typical
from lab import libvirtd
from lab.namespace import IMAGE_FOLDER, Machine
from rocks.core.errors import RocksError, ToolError

ROUNDS = 5
LIMIT_SECONDS = 0.3
ROUND_TRIPS = 4
_EMULATOR = "/usr/bin/qemu-system-x86_64"
_VIRSH = ("/usr/bin/virsh", "--quiet", "--connect", "qemu:///system")
_VIRSH_SECONDS = 60.0
START_WHAT = "QEMU's exec, the disk is there: `rocks start host vm` / `virt-install --import`"
ADD_WHAT = "QEMU's exec, a new machine: `rocks add host vm`, `rocks start host vm` / `virt-install --import`"
_VIRT_INSTALL = ("/usr/bin/virt-install", "--connect=qemu:///system")
_IMPORTED, _IMPORTED_BYTES = "guest-imported", 1000**3
_ADDED = "guest-added"
_VLAN = 11
_AT_ONCE, _FIRST_VLAN_AT_ONCE = 16, 1000
END_LIMIT = 1.15
"""Goal of what follows QEMU's exec, and of sixteen starts, over `virsh start`."""


class Way(NamedTuple):
    """One way to a host: its name in the table, the guest and its machine, and the extra limit for the line's delay."""

    what: str
    guest: str
    machine: Machine
    allowance_seconds: float


class Start(NamedTuple):
    """Seconds from a command's exec to QEMU's, and from there to the command's end."""

    to_exec: float
    to_end: float


def measure(site: BenchSite) -> list[Row]:
    """On the frontend itself, by SSH without delay, and by SSH over a long line. The far hosts must be up."""
    real = site.hosts[0].machine
    site.add_guest("guest-local", FRONTEND, _VLAN)
    site.add_guest("guest-near", far_hosts.NEAR, _VLAN + 1)
    line_ms = far_hosts.ROUND_TRIP_MS
    ways = [
        Way("on the frontend", "guest-local", site.frontend.machine, 0),
        Way("by SSH, no delay", "guest-near", real, 0),
        Way(
            f"by SSH, {line_ms} ms round trip", far_hosts.guests(site)[0], real, ROUND_TRIPS * line_ms / 1000
        ),
    ]
    taken: dict[Way, list[tuple[Start, Start]]] = {way: [] for way in ways}
    with ExecWatch(_EMULATOR) as watch:
        for _ in range(ROUNDS):
            for way in ways:
                taken[way].append(_one_round(site, way, watch))
        beside = _beside_virt_install(site, ways[0], watch)
    ends = [_end_row(way, taken[way]) for way in ways]
    listed, at_once = _listed(site, ways[0]), _at_once(site, ways[0])
    return [*(_row(way, taken[way]) for way in ways), *ends, at_once, listed, *beside]


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


def _beside_virt_install(site: BenchSite, way: Way, watch: ExecWatch) -> list[Row]:
    """virt-install takes a disk that is there, and makes a machine without network and display."""
    environment, machine = site.environment(), way.machine
    imported, added = way._replace(guest=_IMPORTED), way._replace(guest=_ADDED)

    def by_start() -> float:
        seconds = _started([ROCKS, "start", "host", "vm", way.guest], environment, way, watch).to_exec
        site.rocks("stop", "host", "vm", way.guest)
        return seconds

    def by_add() -> float:
        settings = (f"name={_ADDED}", f"vlan={_VLAN}", f"mem={GUEST_MEMORY_MB}", "disksize=1")
        add = [ROCKS, "add", "host", "vm", FRONTEND, "membership=Hosted VM", *settings]
        seconds = run_seconds(add, environment)
        seconds += _started([ROCKS, "start", "host", "vm", _ADDED], environment, added, watch).to_exec
        site.rocks("stop", "host", "vm", _ADDED)
        site.rocks("remove", "host", "vm", _ADDED, "disks=remove")
        site.rocks("remove", "host", _ADDED)
        return seconds

    def by_virt_install() -> float:
        disk = f"{IMAGE_FOLDER}/{_IMPORTED}.vda"
        with machine.outside(disk).open("wb") as file:
            file.truncate(_IMPORTED_BYTES)
        settings = (f"--name={_IMPORTED}", f"--memory={GUEST_MEMORY_MB}", f"--disk=path={disk},format=raw")
        devices = ("--osinfo=linux2020", "--network=none", "--graphics=none", "--noautoconsole")
        install = peers.command_with(files, [*_VIRT_INSTALL, "--import", *settings, *devices])
        seconds = _started(machine.command(install), os.environ, imported, watch).to_exec
        for action in ("destroy", "undefine"):
            machine.run_checked([*_VIRSH, action, _IMPORTED], _VIRSH_SECONDS)
        return seconds

    try:
        files = peers.from_debian("bench-virtinst", "virtinst")
        ask_version = peers.command_with(files, [*_VIRT_INSTALL, "--version"])
        version = machine.run_checked(ask_version, _VIRSH_SECONDS).text.strip()
        taken = in_turns([by_start, by_add, by_virt_install], ROUNDS)
    except RocksError as error:
        return [not_measured("R2", what, str(error)) for what in (START_WHAT, ADD_WHAT)]
    start, add, install = (typical(seconds) for seconds in taken)
    return beside_virt_install(start, add, install, version)


def beside_virt_install(start: float, add: float, install: float, version: str) -> list[Row]:
    """The rows, of the seconds of each way."""
    how = f"medians of {ROUNDS}, in turns, on the frontend; virt-install {version}"
    return [
        without_goal(
            "R2",
            START_WHAT,
            f"{start / install:.2f}",
            f"{start:.2f} s / {install:.2f} s, {how} defines the machine too, without network and display",
        ),
        without_goal(
            "R2",
            ADD_WHAT,
            f"{add / install:.2f}",
            f"{add:.2f} s / {install:.2f} s, {how}; that of `rocks` gets an empty disk",
        ),
    ]


def _one_round(site: BenchSite, way: Way, watch: ExecWatch) -> tuple[Start, Start]:
    """`rocks start host vm`, and `virsh start` of the domain that it defined."""
    environment = site.environment()
    by_rocks = _started([ROCKS, "start", "host", "vm", way.guest], environment, way, watch)
    way.machine.run_checked([*_VIRSH, "destroy", way.guest], _VIRSH_SECONDS)
    virsh = way.machine.command([*_VIRSH, "start", way.guest])
    by_virsh = _started(virsh, environment, way, watch)
    site.rocks("stop", "host", "vm", way.guest)
    return by_rocks, by_virsh


def _started(command: Sequence[str], environment: Mapping[str, str], way: Way, watch: ExecWatch) -> Start:
    begin = now()
    run_seconds(command, environment)
    end = now()
    process = libvirtd.guests(way.machine).get(way.guest)
    if process is None:
        raise ToolError(f"{way.guest} does not run after {' '.join(command)}")
    executed = watch.executed(process.start_ticks)
    return Start(executed - begin, end - executed)


def _at_once(site: BenchSite, way: Way) -> Row:
    """One `rocks start host vm` of sixteen machines; then sixteen `virsh start` at once of their domains."""
    names = [f"guest-of-{_AT_ONCE}-{number}" for number in range(_AT_ONCE)]
    for vlan, name in enumerate(names, _FIRST_VLAN_AT_ONCE):
        site.add_guest(name, FRONTEND, vlan)
    by_rocks, by_virsh = [], []
    for _ in range(ROUNDS):
        by_rocks.append(run_seconds([ROCKS, "start", "host", "vm", *names], site.environment()))
        for name in names:
            way.machine.run_checked([*_VIRSH, "destroy", name], _VIRSH_SECONDS)
        begin = now()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            commands = [way.machine.command([*_VIRSH, "start", name]) for name in names]
            list(pool.map(lambda command: run_seconds(command, os.environ), commands))
        by_virsh.append(now() - begin)
        site.rocks("stop", "host", "vm", *names)
    ours, theirs = typical(by_rocks), typical(by_virsh)
    return at_most(
        "R2",
        f"{_AT_ONCE} machines: `rocks start host vm` / {_AT_ONCE} `virsh start` at once, to the end: {way.what}",
        ours / theirs,
        END_LIMIT,
        "",
        f"{ours:.1f} s / {theirs:.1f} s, medians of {ROUNDS}, in turns",
    )


def _row(way: Way, taken: Sequence[tuple[Start, Start]]) -> Row:
    over = [rocks.to_exec - virsh.to_exec for rocks, virsh in taken]
    by_rocks, by_virsh = (typical([start.to_exec for start in column]) for column in zip(*taken, strict=True))
    return at_most(
        "R2",
        f"`rocks start host vm` to QEMU's exec, over `virsh start`: {way.what}",
        typical(over),
        LIMIT_SECONDS + way.allowance_seconds,
        "s",
        f"{by_rocks:.2f} s against {by_virsh:.2f} s, medians of {ROUNDS} pairs",
    )


def _end_row(way: Way, taken: Sequence[tuple[Start, Start]]) -> Row:
    by_rocks, by_virsh = (typical([start.to_end for start in column]) for column in zip(*taken, strict=True))
    return at_most(
        "R2",
        f"from QEMU's exec to the command's end: `rocks start host vm` / `virsh start`: {way.what}",
        by_rocks / by_virsh,
        END_LIMIT,
        "",
        f"{by_rocks:.2f} s / {by_virsh:.2f} s, medians of {ROUNDS} pairs",
    )
