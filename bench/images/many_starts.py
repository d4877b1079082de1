"""R29: sixteen images of one NAS are mapped and read at once, as by booting machines: bytes, and time of the last one.

A program reads in a guest's place: eight guests are too many for an emulated host with one processor.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from bench.images.boots import forget_copy
from bench.images.copying import rate_of_one
from bench.images.site import GOLDEN_MB, ImageSite, wait_until
from bench.table import Found, at_most
from lab.machines.machine import LabMachine

IMAGES = 16
BYTES_LIMIT, TIME_LIMIT = 1.3, 1.5
BYTES_WHAT = f"{IMAGES} images mapped at once from one NAS and read: bytes out of it / {IMAGES} single ones"
TIME_WHAT = "the same, until the last one is read / the time of the bytes until then at the rate of one copy"
_SECONDS = 900.0
_BYTES_PER_MB, _BYTES_PER_MIB = 1e6, 2**20


class Mapped(NamedTuple):
    """Seconds until the last image was read, bytes out of the NAS until then and until all were local."""

    seconds: float
    bytes_until_read: int
    bytes_until_local: int


def measure(site: ImageSite) -> Found:
    """Images on both hosts in turns, each read once from end to end; one of them alone before, all with cold caches."""
    hosts = site.hosts()
    images = {f"rush-{number}": hosts[number % len(hosts)] for number in range(IMAGES)}
    for volume in images:
        site.add_clone(volume)
    rate = rate_of_one(site)
    first, first_host = next(iter(images.items()))
    single = _map(site, {first: first_host})
    _forget(site, {first: first_host})
    every = _map(site, images)
    ideal = every.bytes_until_read / rate
    moved = [one / _BYTES_PER_MIB for one in (every.bytes_until_local, single.bytes_until_local)]
    how_many = (
        f"{moved[0]:.1f} MiB / {IMAGES} times {moved[1]:.1f} MiB out of the NAS's cable until all images are local, "
        f"messages and looking on included; {GOLDEN_MB} MiB each"
    )
    how_long = (
        f"{every.seconds:.0f} s / {ideal:.0f} s, {every.bytes_until_read / _BYTES_PER_MIB:.1f} MiB until then, "
        f"{rate / _BYTES_PER_MB:.1f} MB/s of an image that nobody reads; one alone: {single.seconds:.0f} s"
    )
    bytes_ratio = moved[0] / (IMAGES * moved[1])
    return Found(
        [
            at_most("R29", BYTES_WHAT, bytes_ratio, BYTES_LIMIT, "", how_many),
            at_most("R29", TIME_WHAT, every.seconds / ideal, TIME_LIMIT, "", how_long),
        ]
    )


def _forget(site: ImageSite, images: dict[str, LabMachine]) -> None:
    for volume, host in images.items():
        site.unmap(volume)
        site.wait_for_state(volume, "unmapped")
        forget_copy(host, volume)


def _map(site: ImageSite, images: dict[str, LabMachine]) -> Mapped:
    """Map and read all of them at once, and wait until they are local."""
    site.drop_caches()
    before, begin = site.moved(), time.monotonic()
    with ThreadPoolExecutor(len(images)) as pool:
        list(pool.map(lambda volume: _read(site, volume, images[volume]), images))
    seconds, bytes_until_read = time.monotonic() - begin, site.moved().since(before).sent
    _wait_until_local(site, list(images))
    return Mapped(seconds, bytes_until_read, site.moved().since(before).sent)


def _read(site: ImageSite, volume: str, host: LabMachine) -> None:
    device = site.map(volume, host=host, deadline_seconds=_SECONDS)
    host.run(["dd", f"if={device}", "of=/dev/null", "bs=64k", "iflag=direct", "status=none"], _SECONDS)


def _wait_until_local(site: ImageSite, volumes: Sequence[str]) -> None:
    for volume in volumes:
        wait_until(
            lambda volume=volume: any(site.table(host, volume) == "linear" for host in site.hosts()),  # type: ignore[misc]
            f"{volume} to be local",
            _SECONDS,
            3.0,
        )
