"""R18: from `rocks add cluster` with an image to an answer by SSH, and from `virsh start` of the same image.

The site is that of `make demo-cluster`: one host, Debian's image from packages, the guest's disk a file. Both ways end
with the first login that succeeds, tried again and again; the image's own first start, cloud-init in it, is in both.
The time of the commands alone is measured, too: on a busy machine the guest's start varies by more than they take.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.site import STATE, BenchSite
from bench.table import Row, at_most, without_goal
from bench.timing import in_turns, typical
from lab.demos.cluster import ADDRESS, CLUSTER, DemoCluster
from lab.demos.demo import Demo
from lab.demos.image_demo import find_image
from lab.namespace import IMAGE_FOLDER
from lab.progress import Progress
from lab.site import Site
from rocks.core.errors import ToolError
from rocks.core.process import run_checked

LIMIT_SECONDS = 5.0
ROUNDS = 3
WHAT = "`rocks add cluster` with an image to the frontend's answer by SSH, over a bare boot of the image"
COMMANDS_WHAT = "the same, up to the end of the commands: the machine runs"
FIRST_WHAT = "the same, the first time: the image is copied to its host"
FIRST_COMMANDS_WHAT = "the first time, up to the end of the commands"
_DISK = f"{IMAGE_FOLDER}/{CLUSTER}.vda"
_ANSWER_SECONDS = 900.0
_SSH_SECONDS = 60.0
_PAUSE_SECONDS = 0.3
_COMMAND_SECONDS = 300.0
_ADD = ("add", "cluster", ADDRESS, "0", f"fe-name={CLUSTER}", "cluster-naming=yes")
_SIZE = "disk-per-frontend=4"


class Durations(NamedTuple):
    """Seconds of one way: until its commands have ended, and until the answer by SSH."""

    commands: float
    answer: float


def measure(bench: BenchSite) -> list[Row]:
    """In turns, on a site of its own, which is removed afterwards. ToolError when a guest does not answer."""
    build_image()
    site = bench.with_image
    site.tear_down()
    try:
        return _measure(site)
    finally:
        site.tear_down()


def build_image() -> None:
    """Debian's image in the state folder, as of `make guest-image`. ToolError when it cannot be built."""
    run_checked(["make", "--no-print-directory", "guest-image"], deadline_seconds=1800.0)


def _measure(site: Site) -> list[Row]:
    progress = Progress(lambda line: None)
    demo = Demo(site, STATE / "guest" / "kernel", STATE / "guest" / "images", progress)
    images = STATE / "guest" / "debian"
    name, config = DemoCluster(site, demo, images, progress).prepare()
    arguments = (*_ADD, f"image={name}", f"key={config.parent / 'id.pub'}", _SIZE)
    image = find_image(images)

    def by_rocks() -> None:
        _done(site, *arguments)
        _done(site, "start", "cluster", CLUSTER)

    def by_virsh() -> None:
        site.machine.run_checked(["/usr/bin/virsh", "--quiet", "start", CLUSTER], _COMMAND_SECONDS)

    def bare() -> Durations:
        site.machine.run_checked(["/usr/bin/virsh", "--quiet", "destroy", CLUSTER], _COMMAND_SECONDS)
        _put_again(image, site.machine.outside(_DISK))
        return _timed(site, config, by_virsh)

    def once_more() -> Durations:
        _done(site, "stop", "cluster", CLUSTER)
        _done(site, "remove", "cluster", CLUSTER, "disks=remove")
        return _timed(site, config, by_rocks)

    first, first_bare = _timed(site, config, by_rocks), bare()
    again, again_bare = in_turns([once_more, bare], ROUNDS)
    return rows(first, first_bare, again, again_bare)


def rows(
    first: Durations, first_bare: Durations, again: Sequence[Durations], again_bare: Sequence[Durations]
) -> list[Row]:
    """The table's rows, of both ways the first time and, in turns, some times more."""
    ours, bare = (typical([way.answer for way in ways]) for ways in (again, again_bare))
    commands, bare_commands = (typical([way.commands for way in ways]) for ways in (again, again_bare))
    of_turns = f"medians of {len(again)} in turns"
    how = (
        f"{ours:.1f} s / {bare:.1f} s, {of_turns}; bare: `virsh start` of the same domain, with a fresh disk"
    )
    return [
        at_most("R18", WHAT, ours - bare, LIMIT_SECONDS, "s", how),
        _compared(COMMANDS_WHAT, commands, bare_commands, of_turns),
        _compared(FIRST_WHAT, first.answer, first_bare.answer, "once"),
        _compared(FIRST_COMMANDS_WHAT, first.commands, first_bare.commands, "once"),
    ]


def _compared(what: str, by_rocks: float, by_virsh: float, how: str) -> Row:
    return without_goal(
        "R18", what, f"{by_rocks - by_virsh:.2f} s", f"{by_rocks:.1f} s / {by_virsh:.1f} s, {how}"
    )


def _timed(site: Site, config: Path, start: Callable[[], None]) -> Durations:
    """From the start of the commands to their end, and to the first answer by SSH."""
    (config.parent / "known_hosts").unlink(missing_ok=True)  # each first start makes new keys
    began = time.monotonic()
    start()
    ended = time.monotonic()
    line = ["ssh", "-F", str(config), "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", CLUSTER, "hostname"]
    while True:
        try:
            answer = site.machine.run_checked(line, _SSH_SECONDS).text.strip()
        except ToolError as error:
            if time.monotonic() - began > _ANSWER_SECONDS:
                raise ToolError(
                    f"{CLUSTER} does not answer by SSH after {_ANSWER_SECONDS:g} s: {error}"
                ) from None
            time.sleep(_PAUSE_SECONDS)
            continue
        if answer != CLUSTER:
            raise ToolError(f"{CLUSTER} answers by SSH, and calls itself {answer}")
        return Durations(ended - began, time.monotonic() - began)


def _put_again(image: Path, disk: Path) -> None:
    """The image's content in the same file, whose identity the machine's lease has; as large as before."""
    size = disk.stat().st_size
    with disk.open("r+b") as file:
        file.truncate(0)
    run_checked(["cp", "--sparse=always", str(image), str(disk)], deadline_seconds=_COMMAND_SECONDS)
    with disk.open("r+b") as file:
        file.truncate(size)


def _done(site: Site, *arguments: str) -> None:
    finished = site.rocks(arguments, _COMMAND_SECONDS)
    if finished.exit_status != 0:
        raise ToolError(f"rocks {' '.join(arguments)} failed: {finished.error_text.strip()}")
