"""R29: sixteen machines whose disks are on one NAS are started at once: the bytes, and the time of the last one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import PurePath
from typing import NamedTuple

from bench.images.boots import forget_copy
from bench.images.copying import rate_of_one
from bench.images.site import NAS, POOL, ImageSite, wait_until
from bench.table import Found, at_most

MACHINES = 16
BYTES_LIMIT, TIME_LIMIT = 1.3, 1.5
BYTES_WHAT = f"{MACHINES} machines started at once from one NAS: bytes out of it / {MACHINES} single starts"
TIME_WHAT = "the same, until the last one is ready / the time of the bytes until then at the rate of one copy"

_CLUSTER, _VLAN, _ADDRESS = "rush", 101, "203.0.113.10"
_NAMES = [f"vm-{_CLUSTER}-{number}" for number in range(MACHINES)]
_CONSOLES = "/var/log/libvirt/qemu"
_SECONDS = 900.0
_BYTES_PER_MB, _BYTES_PER_MIB = 1e6, 2**20


class Started(NamedTuple):
    """A start: seconds until the last machine was ready, bytes out of the NAS until then and until all were local."""

    seconds: float
    bytes_until_ready: int
    bytes_until_local: int


def measure(site: ImageSite) -> Found:
    """Computes on both hosts, of a boot sector that reads 64 MiB; one of them alone before, all with cold caches."""
    _prepare(site)
    rate = rate_of_one(site)
    single = _start(site, _NAMES[:1])
    _forget(site, _NAMES[0])
    every = _start(site, _NAMES)
    ideal = every.bytes_until_ready / rate
    moved = [one / _BYTES_PER_MIB for one in (every.bytes_until_local, single.bytes_until_local)]
    how_many = (
        f"{moved[0]:.1f} MiB / {MACHINES} times {moved[1]:.1f} MiB out of the NAS's cable until all disks are local, "
        "messages and looking on included"
    )
    how_long = (
        f"{every.seconds:.0f} s / {ideal:.0f} s, {every.bytes_until_ready / _BYTES_PER_MIB:.1f} MiB until then, "
        f"{rate / _BYTES_PER_MB:.1f} MB/s of an image that no guest uses; one machine alone: {single.seconds:.0f} s"
    )
    bytes_ratio = moved[0] / (MACHINES * moved[1])
    return Found(
        [
            at_most("R29", BYTES_WHAT, bytes_ratio, BYTES_LIMIT, "", how_many),
            at_most("R29", TIME_WHAT, every.seconds / ideal, TIME_LIMIT, "", how_long),
        ]
    )


def _prepare(site: ImageSite) -> None:
    """A cluster whose computes have the golden image's content, on the NAS alone."""
    hosts = " ".join(host.name for host in site.hosts())
    places = (f"fe-container={site.host.name}", f"container-hosts={hosts}", "subnet=trunk", f"vlan={_VLAN}")
    sizes = ("mem-per-compute=32", "disk-per-compute=1", "disk-per-frontend=1")
    names = (f"fe-name={_CLUSTER}", "cluster-naming=yes")
    site.done("add", "cluster", _ADDRESS, str(MACHINES), *names, *sizes, *places)
    site.done("set", "host", "vm", "nas", *_NAMES, f"nas={NAS}", f"zpool={POOL}")
    for name in _NAMES:
        site.add_clone(f"{name}-vol")
        site.put_guest("reading", f"{name}-vol")


def _start(site: ImageSite, names: Sequence[str]) -> Started:
    """Start all of them by one command, and wait until their disks are local."""
    site.drop_caches()
    before, begin = site.moved(), time.monotonic()
    site.done("start", "host", "vm", *names, deadline_seconds=_SECONDS)
    wait_until(lambda: _ready(site) >= set(names), f"{len(names)} machines to be ready", _SECONDS)
    seconds, ready = time.monotonic() - begin, site.moved().since(before).sent
    for name in names:
        wait_until(lambda name=name: _is_local(site, name), f"{name} to be local", _SECONDS, 3.0)  # type: ignore[misc]
    return Started(seconds, ready, site.moved().since(before).sent)


def _ready(site: ImageSite) -> set[str]:
    """The machines whose console says so."""
    looks = ["sh", "-c", f"grep -ls ready {_CONSOLES}/vm-{_CLUSTER}-*.console.log"]
    paths = [path for host in site.hosts() for path in host.run_any(looks).text.split()]
    return {PurePath(path).name.removesuffix(".console.log") for path in paths}


def _is_local(site: ImageSite, name: str) -> bool:
    return any(site.table(host, f"{name}-vol") == "linear" for host in site.hosts())


def _forget(site: ImageSite, name: str) -> None:
    """Stop it, and have its host as before its start."""
    site.done("stop", "host", "vm", name)
    site.wait_for_state(f"{name}-vol", "unmapped")
    for host in site.hosts():
        forget_copy(host, f"{name}-vol")
        link = f"{_CONSOLES}/{name}.console.log"  # to the log that is named by the machine's UUID
        host.shell(f"rm -f $(readlink -f {link}) {link}")
