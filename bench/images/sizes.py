"""R35: starts from sparse images of 1, 10 and 40 GB, and copies of one disk that was stored in two ways.

The disk has the proportions of one that the documents name, of 39.5 GB with 10.7 GB in use, on a scale of 1:200. `dd`
stores each of its bytes, with what removed files left in the free blocks; Clonezilla stores the blocks in use alone.
"""

from __future__ import annotations

import time

from bench.images.boots import forget_copy
from bench.images.copying import by_socat, our_copy
from bench.images.site import GUEST, HOST_POOL, NAS, POOL, VOLUME, ImageSite, last_report
from bench.table import Found, Row, at_most
from bench.timing import in_turns, typical

SIZES_GB = (1, 10, 40)
START_ROUNDS = COPY_ROUNDS = 2
START_LIMIT, RATE_LIMIT, BYTES_LIMIT = 1.25, 0.90, 1.05
START_WHAT = "a start from a sparse image of 40 GB / of 1 GB, until the Linux guest is ready"
RATE_WHAT = "a disk stored by {}: rate of its copy / `zfs send` to `zfs receive` through socat's TLS"
BYTES_WHAT = "a disk stored by {}: bytes of its stream / bytes that it has on the NAS"
WAYS = ("dd", "its blocks in use")

_VOLUMES = ("disk-dd", "disk-used")
_DISK_MB, _USED_MB = 198, 54
_GUEST_DISK = "guest-disk"
_READ_FROM_MB, _READ_MB = 48, 16
_MEMORY_MB = 192
_WATCH = "size-watch"
_READY_SECONDS, _ZFS_SECONDS = 240, 180
_BYTES_PER_MB, _BYTES_PER_MIB = 1e6, 2**20


def measure_starts(site: ImageSite) -> Found:
    """In turns, all with cold caches, after one start that is not counted: a site's first one takes longer."""
    # Of 40 GB a tenth is reserved on the host for the guest's writes, and a tenth for their merge.
    site.host.shell(f"truncate -s 8G /root/more\nzpool add -f {HOST_POOL} /root/more\n", _ZFS_SECONDS)
    site.done("set", "host", "vm", GUEST, f"mem={_MEMORY_MB}")
    site.done("set", "host", "vm", "nas", GUEST, f"nas={NAS}", f"zpool={POOL}")
    site.done("add", "host", "storageimg", NAS, POOL, _GUEST_DISK, "size=1")
    site.put_linux_guest(_READ_FROM_MB, _READ_MB, _GUEST_DISK)
    _start(site, SIZES_GB[0])
    taken = in_turns([lambda size_gb=size_gb: _start(site, size_gb) for size_gb in SIZES_GB], START_ROUNDS)  # type: ignore[misc]
    site.remove_image(_GUEST_DISK)
    means = [sum(seconds) / len(seconds) for seconds in taken]
    listed = "; ".join(
        f"{size_gb} GB: {' and '.join(f'{second:.1f} s' for second in seconds)}"
        for size_gb, seconds in zip(SIZES_GB, taken, strict=True)
    )
    how = (
        f"from `rocks start host vm` to the ready line, in turns, caches dropped before each: {listed}; the guest "
        f"reads {_READ_MB} MiB of its image before it is ready"
    )
    return Found([at_most("R35", START_WHAT, means[-1] / means[0], START_LIMIT, "", how)])


def _start(site: ImageSite, size_gb: int) -> float:
    """Seconds of a start from a new image of that size with the guest's disk at its beginning."""
    host = site.host
    site.done("add", "host", "storageimg", NAS, POOL, VOLUME, f"size={size_gb}")
    disk = f"/dev/zvol/{POOL}"
    site.nas.shell(
        f"dd if={disk}/{_GUEST_DISK} of={disk}/{VOLUME} bs=1M count={_READ_FROM_MB + _READ_MB} "
        "conv=sparse,notrunc,fsync status=none\n",
        _ZFS_SECONDS,
    )
    site.drop_caches()
    site.start_own_program(host, _WATCH, "console_watch", "boot", GUEST, "ready", str(_READY_SECONDS))
    begin = time.monotonic()
    site.done("start", "host", "vm", GUEST)
    last_report(host, _WATCH, "seconds", _READY_SECONDS)
    seconds = time.monotonic() - begin
    site.done("stop", "host", "vm", GUEST)
    site.wait_for_state(VOLUME, "unmapped")
    forget_copy(host, VOLUME)
    site.remove_image(VOLUME)
    return seconds


def measure_copies(site: ImageSite) -> Found:
    """All in turns, into a pool without any data of the image; no guest runs."""
    for volume, stored_mb in zip(_VOLUMES, (_DISK_MB, _USED_MB), strict=True):
        _add_disk(site, volume, stored_mb)
    measures = [lambda volume=volume: _copy(site, volume) for volume in _VOLUMES]
    rows: list[Row] = []
    for way, volume, found in zip(WAYS, _VOLUMES, in_turns(measures, COPY_ROUNDS), strict=True):
        ours, socat, stream_bytes = (typical(column) for column in zip(*found, strict=True))
        stored = int(site.nas.shell(f"zfs get -H -p -o value logicalreferenced {POOL}/{volume}"))
        how = (
            f"{ours / _BYTES_PER_MB:.1f} MB/s / {socat / _BYTES_PER_MB:.1f} MB/s, medians of {COPY_ROUNDS} in turns; "
            f"a disk of {_DISK_MB} MiB with {_USED_MB} MiB in use, of random data"
        )
        ratio = ours / socat
        rows.append(
            Row(
                "R35", RATE_WHAT.format(way), f"{ratio:.2f}", f">= {RATE_LIMIT:.2f}", ratio >= RATE_LIMIT, how
            )
        )
        moved = f"{stream_bytes / _BYTES_PER_MIB:.2f} MiB / {stored / _BYTES_PER_MIB:.2f} MiB"
        rows.append(
            at_most(
                "R35",
                BYTES_WHAT.format(way),
                stream_bytes / stored,
                BYTES_LIMIT,
                "",
                f"{moved}, as the host's daemon counts the stream",
            )
        )
    return Found(rows)


def _copy(site: ImageSite, volume: str) -> tuple[float, float, float]:
    """Bytes per second by our daemons and by socat, and bytes of our stream."""
    ours = our_copy(site, volume)
    return ours.rate, by_socat(site, volume=volume), float(ours.stream_bytes)


def _add_disk(site: ImageSite, volume: str, stored_mb: int) -> None:
    """An image whose first so many MiB were written; it is a clone of a volume made by hand, as the golden one."""
    origin = f"{volume}-origin"
    site.nas.shell(
        f"zfs create -s -V {_DISK_MB}M -o volblocksize=16k {POOL}/{origin}\nudevadm settle\n"
        f"dd if=/dev/urandom of=/dev/zvol/{POOL}/{origin} bs=1M count={stored_mb} conv=notrunc,fsync status=none\n",
        _ZFS_SECONDS,
    )
    site.done("add", "host", "storageimg", NAS, POOL, volume, f"origin={origin}")
