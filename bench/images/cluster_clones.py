"""R19: forty copies of a cluster of four whose disks are on the NAS: the NAS's time, and the space."""

from __future__ import annotations

import re
import shutil
import time

from bench.images.site import GOLDEN, NAS, POOL, ImageSite
from bench.table import Found, at_most, without_goal
from rocks.core.errors import ToolError

COPIES = 40
TIME_LIMIT_SECONDS = 10.0
RATIO_LIMIT = 1.0
SPACE_LIMIT = 1.05
TIME_WHAT = f"{COPIES} copies of a cluster of four: time on the NAS"
COMMAND_WHAT = "the same, the whole command"
RATIO_WHAT = "the same, for each disk / `zfs clone` by hand, one after the other"
FLOOR_WHAT = "the same, for each disk / `zfs clone` by hand, as many at once as the daemon's"
SPACE_WHAT = f"space of a cluster of four and {COPIES} copies on the NAS / of the cluster"

_CLUSTER = "lesson"
_MACHINES = (_CLUSTER, *(f"vm-{_CLUSTER}-{number}" for number in range(3)))
_IMAGE, _LIBRARY = "lesson", "/tmp/rocks-bench-library"
_FIRST_ADDRESS, _ADDRESS = "203.0.113.100", "203.0.113.99"
_DONE = re.compile(r": (\d+) disks (?:frozen|cloned) in ([\d.]+) s")
_BYTES_PER_MIB = 2**20
_BY_HAND = 20
_AT_ONCE = 16
_OPTIONS, _PROPERTY = "-o volmode=dev", "-o imgstore:cloned-disk=on"
_COMMAND_SECONDS = 600.0
"""For all copies: an emulated NAS beside other work may need a second or two for each disk."""
_CLONE_BY_HAND = f"""\
zfs snapshot {POOL}/{GOLDEN}@by-hand
began=$(date +%s.%N)
seq $count | xargs -P $at_once -I N zfs clone $options {POOL}/{GOLDEN}@by-hand {POOL}/by-hand-N
zfs list -Hp -t volume -o name,guid -r {POOL} >/dev/null
ended=$(date +%s.%N)
udevadm settle
# udev may hold one open for a moment
for try in 1 2 3 4 5 6; do zfs destroy -R {POOL}/{GOLDEN}@by-hand && break; sleep 2; done
udevadm settle
echo $began $ended
"""


def measure(site: ImageSite) -> Found:
    """The daemon's own report of its time, of all requests of one command; space as ZFS counts it, before and after."""
    _prepare(site)
    number = COPIES * len(_MACHINES)
    by_hand, at_once = _by_hand(site, _BY_HAND, 1), _by_hand(site, number, _AT_ONCE, _PROPERTY)
    before = _used(site)
    since, began = site.clock(site.nas), time.monotonic()
    site.done(
        "clone", "cluster", _CLUSTER, _FIRST_ADDRESS, f"count={COPIES}", deadline_seconds=_COMMAND_SECONDS
    )
    whole = time.monotonic() - began
    reports = [found for _, line in site.logged(site.nas, since) if (found := _DONE.search(line))]
    clones = sum(int(found[1]) for found in reports) - len(_MACHINES)
    if clones != number:
        raise ToolError(f"the NAS reports {clones} clones, not {number}")
    seconds = sum(float(found[2]) for found in reports)
    after = _used(site)
    space = f"{after / _BYTES_PER_MIB:.2f} MiB / {before / _BYTES_PER_MIB:.2f} MiB, all volumes of the pool"
    each = f"{clones} clones of {len(_MACHINES)} snapshots, {seconds / clones * 1000:.0f} ms for each"
    return Found(
        [
            at_most("R19", TIME_WHAT, seconds, TIME_LIMIT_SECONDS, "s", f"{each}; by the log of its daemon"),
            at_most(
                "R19",
                RATIO_WHAT,
                seconds / clones / by_hand,
                RATIO_LIMIT,
                "",
                f"{by_hand * 1000:.0f} ms by hand, of {_BY_HAND}; the goal of 10 s is for hardware",
            ),
            without_goal(
                "R19",
                FLOOR_WHAT,
                f"{seconds / clones / at_once:.2f}",
                f"{at_once * 1000:.0f} ms by hand, of {number}, {_AT_ONCE} at once, with a property of ours each",
            ),
            without_goal("R19", COMMAND_WHAT, f"{whole:.1f} s", "`rocks clone cluster`, on the frontend"),
            at_most("R19", SPACE_WHAT, after / before, SPACE_LIMIT, "", space),
        ]
    )


def _prepare(site: ImageSite) -> None:
    """A cluster whose disks are the golden image's, at rest on the NAS."""
    shutil.rmtree(_LIBRARY, ignore_errors=True)  # of an earlier run
    site.done("set", "attr", "image_library", _LIBRARY)
    site.done("set", "attr", "vm_vlan_pool", "200-300")
    file = site.lab.folder / "lesson.raw"
    file.write_bytes(site.lab.counting_guest.read_bytes())
    try:
        site.done("add", "image", _IMAGE, f"file={file}")
    finally:
        file.unlink()
    places = ("fe-container=vmh1", "container-hosts=vmh1 vmh2", "subnet=trunk")
    names = (f"fe-name={_CLUSTER}", "cluster-naming=yes", f"image={_IMAGE}")
    sizes = ("mem-per-compute=64", "disk-per-compute=1", "disk-per-frontend=1")
    site.done("add", "cluster", _ADDRESS, str(len(_MACHINES) - 1), *names, *sizes, *places)
    site.done("set", "host", "vm", "nas", *_MACHINES, f"nas={NAS}", f"zpool={POOL}")
    for machine in _MACHINES:
        site.done("add", "host", "storageimg", NAS, POOL, f"{machine}-vol", f"origin={GOLDEN}")


def _by_hand(site: ImageSite, count: int, at_once: int, options: str = "") -> float:
    """Seconds for each `zfs clone` of the golden image by a shell on the NAS, until their GUIDs are known."""
    given = f"count={count} at_once={at_once} options='{_OPTIONS} {options}'"
    began, ended = site.nas.shell(f"{given}\n{_CLONE_BY_HAND}", 400).split()[-2:]
    return (float(ended) - float(began)) / count


def _used(site: ImageSite) -> int:
    site.nas.run(["zpool", "sync", POOL])
    answer = site.nas.run(["zfs", "list", "-H", "-p", "-t", "volume", "-o", "used", "-r", POOL]).text
    return sum(int(value) for value in answer.split())
