"""R1 taken apart: one read of 64 KiB at each layer between a NAS's snapshot and a guest."""

from __future__ import annotations

import json

from bench.images.boots import SLOWLY, forget_copy, iscsi_disk
from bench.images.site import HOST_POOL, NAS, POOL, ImageSite
from bench.table import Found, without_goal
from bench.timing import typical
from lab.machines.machine import LabMachine

ROUNDS = 3
WHAT = "a read of 64 KiB, one after the other"

_VOLUME = "layered"
_LOCAL = f"{HOST_POOL}/layers"
_SECONDS = 120.0


def measure(site: ImageSite) -> Found:
    """An image whose copying is slowed, so that it stays remote; the layers of each machine in turns."""
    site.add_clone(_VOLUME)
    site.done("set", "host", "storageattr", NAS, "uploadspeed", SLOWLY)
    site.map(_VOLUME)
    try:
        site.host.shell(
            f"zfs create -s -V 64M -o volblocksize=16k {_LOCAL}\nudevadm settle\n"
            f"dd if=/dev/urandom of=/dev/zvol/{_LOCAL} bs=1M count=64 conv=fsync status=none\n",
            _SECONDS,
        )
        on_nas = [f"/dev/zvol/{POOL}/{_VOLUME}", f"/dev/zvol/{_snapshot(site)}"]
        on_host = [
            f"/dev/zvol/{_LOCAL}",
            f"/dev/{iscsi_disk(site.host, _VOLUME)}",
            f"/dev/mapper/{_VOLUME}-origin",
            f"/dev/mapper/{_VOLUME}-snap",
        ]
        rounds = [(_read(site, site.nas, on_nas), _read(site, site.host, on_host)) for _ in range(ROUNDS)]
    finally:
        site.done("set", "host", "storageattr", NAS, "uploadspeed", "none")
        site.unmap(_VOLUME)
        forget_copy(site.host, _VOLUME)
        forget_copy(site.host, _LOCAL.partition("/")[2])
    found = [typical(column) for column in zip(*(nas + host for nas, host in rounds), strict=True)]
    names = (
        "the NAS's volume",
        "its snapshot there",
        "a volume of the host",
        "the iSCSI disk",
        "the origin",
        "the guest's device",
    )
    listed = ", ".join(f"{name} {ms:.1f} ms" for name, ms in zip(names, found, strict=True))
    ratio = found[-1] / found[2]
    how = f"{listed}; medians of {ROUNDS} rounds of 150 reads, past the cache of the machine that reads"
    return Found(
        [without_goal("R1", f"{WHAT}: the guest's device / a volume of the host", f"{ratio:.1f}", how)]
    )


def _read(site: ImageSite, machine: LabMachine, devices: list[str]) -> list[float]:
    output = site.run_own_program(machine, "one_request", *devices, deadline_seconds=_SECONDS)
    return list(json.loads(output)["ms"])


def _snapshot(site: ImageSite) -> str:
    """The snapshot that the host reads, as ZFS names it."""
    return site.nas.shell(
        f"zfs set snapdev=visible {POOL}/{_VOLUME}\nudevadm settle\n"
        f"zfs list -H -o name -t snapshot -s createtxg {POOL}/{_VOLUME} | tail -n 1"
    ).strip()
