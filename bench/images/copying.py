"""R4: how fast an image follows to its host, against the same stream by ZFS's own programs and socat's TLS."""

from __future__ import annotations

import re
from typing import NamedTuple

from bench.images.boots import forget_copy
from bench.images.site import ImageSite
from bench.images.socat import BLOCK_BYTES, REFERENCE, receiving, snapshot_stream, start_sending
from bench.table import Found, Row, without_goal
from bench.timing import in_turns, typical
from rocks.core.errors import ToolError

ROUNDS = 3
LIMIT = 0.90
WHAT = "localisation rate / `zfs send` to `zfs receive` through socat's TLS"
BUFFERED_WHAT = "`zfs send` to `zfs receive` through a plain connection and mbuffer"

_VOLUME = "copied"
_SECONDS = 120
_RECEIVED = re.compile(r"(\S+): (\d+) bytes received in ([\d.]+) s$")
_BYTES_PER_MB = 1e6


def measure(site: ImageSite) -> Found:
    """All ways in turns, into a pool without any data of the image."""
    site.add_clone(_VOLUME)
    ours, tls, plain, buffered = in_turns(
        [
            lambda: our_copy(site).rate,
            lambda: by_socat(site),
            lambda: by_socat(site, with_tls=False),
            lambda: by_socat(site, with_tls=False, buffer=f"mbuffer -q -s {BLOCK_BYTES} -m 32M | "),
        ],
        ROUNDS,
    )
    site.socat_rate = typical(tls)
    ratio = typical(ours) / typical(tls)
    rates = f"{typical(ours) / _BYTES_PER_MB:.1f} MB/s / {typical(tls) / _BYTES_PER_MB:.1f} MB/s"
    how = f"{rates}, medians of {ROUNDS} in turns, TLS 1.3 with AES-256-GCM both; no guest runs"
    plain_rate, buffered_rate = (f"{typical(each) / _BYTES_PER_MB:.1f} MB/s" for each in (plain, buffered))
    rows = [
        Row("R4", WHAT, f"{ratio:.2f}", f">= {LIMIT:.2f}", ratio >= LIMIT, how),
        without_goal("R4", "`zfs send` to `zfs receive` through a plain connection", plain_rate, "by socat"),
        without_goal("R4", BUFFERED_WHAT, buffered_rate, "by socat, and 32 MB of mbuffer at each end"),
    ]
    return Found(rows)


def rate_of_one(site: ImageSite) -> float:
    """Bytes per second of one copy of an image that no guest uses, while nothing else is copied."""
    if site.state(_VOLUME) == "absent":
        site.add_clone(_VOLUME)
    return our_copy(site).rate


class Received(NamedTuple):
    """A host's daemon's report of a copy that it received."""

    stream_bytes: int
    seconds: float

    @property
    def rate(self) -> float:
        """Bytes per second."""
        return self.stream_bytes / self.seconds


def received(site: ImageSite, volume: str, since: float) -> Received:
    """The host's daemon's report of an image that is local now."""
    for _, line in site.logged(site.host, since):
        found = _RECEIVED.search(line)
        if found is not None and found.group(1).endswith(f"/{volume}"):
            return Received(int(found.group(2)), float(found.group(3)))
    raise ToolError(f"the daemon of {site.host.name} has not reported how long it received {volume}")


def our_copy(site: ImageSite, volume: str = _VOLUME) -> Received:
    """Map an image that no guest uses, until it is local; then the host is as before."""
    begin = site.clock(site.host)
    site.map(volume)
    site.wait_until_local(site.host, volume)
    copy = received(site, volume, begin)
    site.unmap(volume)
    forget_copy(site.host, volume)
    return copy


def by_socat(site: ImageSite, with_tls: bool = True, buffer: str = "", volume: str = _VOLUME) -> float:
    """The rate of the same snapshot, from the host's connection until its `zfs receive` has ended."""
    start_sending(site, volume, with_tls, buffer)
    receive = (
        f"begin=$(date +%s.%N)\n{receiving(site, with_tls, buffer)}\nend=$(date +%s.%N)\necho $begin $end\n"
    )
    begin, end = site.host.run(["bash", "-e", "-o", "pipefail", "-c", receive], _SECONDS).text.split()
    forget_copy(site.host, REFERENCE)
    # The stream is counted when the clock has stopped: a program that counts takes its share of the one processor.
    sent = site.nas.run(["bash", "-e", "-c", f"{snapshot_stream(volume)} | wc -c"], _SECONDS).text
    return int(sent) / (float(end) - float(begin))
