"""R34: a host fails while a disk on it is written: how old the content of the disk on its NAS is then."""

from __future__ import annotations

import time

from bench.images.boots import forget_copy
from bench.images.site import HOST_POOL, NAS, POOL, ImageSite
from bench.table import Found, at_most
from bench.timing import typical

ROUNDS = 4
PERIOD_SECONDS = 10
LIMIT = 2.0
WHAT = "age of a disk's content on its NAS when its host's power fails / the period of transfers"

_VOLUME = "crashed"
_UNIT = "clock-writer"
_BOOT_SECONDS = 300.0
_LOOK = """\
zfs set snapdev=visible {volume}
snapshot=/dev/zvol/$(zfs list -H -o name -t snapshot -s createtxg {volume} | tail -n 1)
for try in $(seq 50); do [ -e $snapshot ] && break; sleep 0.1; done
head -c 20 $snapshot | head -n 1
"""


def measure(site: ImageSite) -> Found:
    """A program writes the time into the first block.

    After the restart the host's copy has the last time that was written, the newest snapshot on the NAS the last that
    was transferred. Both are of the host's clock.
    """
    site.add_clone(_VOLUME)
    site.done("set", "host", "zvolattr", NAS, _VOLUME, "frequency", str(PERIOD_SECONDS))
    ages = [_crash(site, PERIOD_SECONDS * (2 + number / ROUNDS)) for number in range(ROUNDS)]
    site.wait_until_local(site.host, _VOLUME)
    site.unmap(_VOLUME)
    forget_copy(site.host, _VOLUME)
    site.remove_image(_VOLUME)
    how = (
        f"longest of {ROUNDS}, median {typical(ages):.1f} s, period {PERIOD_SECONDS} s; a program on the host writes a "
        "block and flushes it, again and again; the host's emulator is killed"
    )
    return Found([at_most("R34", WHAT, max(ages) / PERIOD_SECONDS, LIMIT, "", how)])


def _crash(site: ImageSite, after_seconds: float) -> float:
    """Seconds between what the host had on its disk and what the NAS had of it, when the power failed."""
    device = site.map(_VOLUME)
    site.wait_until_local(site.host, _VOLUME)
    site.start_own_program(site.host, _UNIT, "clock_writer", device)
    time.sleep(after_seconds)
    site.host.kill()
    arrived = float(site.nas.shell(_LOOK.format(volume=f"{POOL}/{_VOLUME}")))
    site.host.boot(_BOOT_SECONDS)
    written = float(site.host.shell(f"head -c 20 /dev/zvol/{HOST_POOL}/{_VOLUME} | head -n 1\n"))
    return written - arrived
