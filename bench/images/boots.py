"""R1: a guest boots from the NAS, against the same from a local disk; and how long mapping takes, by size."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from bench.images.site import GUEST, HOST_POOL, NAS, POOL, VOLUME, ImageSite, last_report
from bench.images.socat import REFERENCE, receiving, start_sending
from bench.table import Found, Row, at_most, without_goal
from bench.timing import in_turns, typical
from lab.machines.machine import LabMachine

ROUNDS = 2
LIMIT = 1.10
SIZES_GB = (1, 8, 32)
MAP_ROUNDS = 3
MAP_LIMIT = 1.25
SLOWLY = "200K"
WHAT = "boot from the NAS / from a local disk, a Linux guest that reads 64 MiB before it is ready"
MAP_WHAT = "time to map an image of 32 GB / of 1 GB"

_LOCAL = "bench-local"
_LOCAL_VOLUME = f"{HOST_POOL}/{_LOCAL}"
_WATCH = "boot-watch"
_READY_SECONDS = 180
_ZFS_SECONDS = 180
_DOMAIN, _DOMAIN_ISCSI = "/root/bench-local.xml", "/root/bench-iscsi.xml"
_READ_FROM_MB, _READ_MB = 48, 64
_MEMORY_MB = 192


def measure(site: ImageSite) -> Found:
    """Images that are sparse, in turns, while the host's pool is empty: each reserves space for the writes of its
    guest. Then boots in turns, all with cold caches."""
    mapping = _mapping(site)
    site.done("add", "host", "storageimg", NAS, POOL, VOLUME, "size=1")
    site.put_linux_guest(_READ_FROM_MB, _READ_MB)
    site.done("set", "host", "vm", GUEST, f"mem={_MEMORY_MB}")
    rows = _of_linux(site)
    site.remove_image(VOLUME)
    return Found([*rows, mapping])


def _of_linux(site: ImageSite) -> list[Row]:
    _prepare(site)
    measures = [
        lambda: _boot_remote(site),
        lambda: _boot_iscsi(site),
        lambda: _boot_iscsi(site, is_copied=True),
        lambda: _boot_local(site),
    ]
    remote, iscsi, copied, local = (typical(seconds) for seconds in in_turns(measures, ROUNDS))
    how = (
        f"{remote:.2f} s / {local:.2f} s from QEMU's exec to the ready line, means of {ROUNDS}, in turns, caches "
        "dropped before each; the image is being copied meanwhile, as fast as it goes"
    )
    return [
        at_most("R1", WHAT, remote / local, LIMIT, "", how),
        without_goal(
            "R1",
            "the floor: the same guest on the iSCSI disk itself, without a device of ours / from a local disk",
            f"{iscsi / local:.2f}",
            f"{iscsi:.2f} s / {local:.2f} s, in turns with those above; the disk is read only, the copying slowed",
        ),
        without_goal(
            "R1",
            "the floor beside a copy: the same, while `zfs send` copies the image through socat's TLS",
            f"{copied / local:.2f}",
            f"{copied:.2f} s / {local:.2f} s, in turns with those above; the disk is read only",
        ),
    ]


def _prepare(site: ImageSite) -> None:
    """The image's content on a volume of its host as well."""
    site.done("set", "host", "vm", "nas", GUEST, f"nas={NAS}", f"zpool={POOL}")
    host = site.host
    site.map(VOLUME)
    site.wait_until_local(host)
    host.shell(
        f"zfs list -H -o name {_LOCAL_VOLUME} >/dev/null 2>&1 && zfs destroy {_LOCAL_VOLUME}\n"
        f"size=$(blockdev --getsize64 /dev/mapper/{VOLUME}-snap)\n"
        f"zfs create -s -V $size -o volblocksize=16k {_LOCAL_VOLUME}\n"
        "udevadm settle\n"
        f"dd if=/dev/mapper/{VOLUME}-snap of=/dev/zvol/{_LOCAL_VOLUME} bs=1M conv=sparse,fsync status=none\n",
        _ZFS_SECONDS,
    )
    site.unmap(VOLUME)
    forget_copy(host, VOLUME)


def _boot_remote(site: ImageSite) -> float:
    """The guest's image is on the NAS alone; it has written nothing when it ends, so nothing remains on the host."""
    host = site.host
    site.drop_caches()
    site.start_own_program(host, _WATCH, "console_watch", "boot", GUEST, "ready", str(_READY_SECONDS))
    site.done("start", "host", "vm", GUEST)
    seconds = float(last_report(host, _WATCH, "seconds", _READY_SECONDS)["seconds"])
    document = host.run(["virsh", "--quiet", "dumpxml", GUEST]).text
    host.write_file(_DOMAIN, local_domain(document).encode())
    site.done("stop", "host", "vm", GUEST)
    site.wait_for_state(VOLUME, "unmapped")
    forget_copy(host, VOLUME)
    return seconds


def _boot_iscsi(site: ImageSite, is_copied: bool = False) -> float:
    """The domain of the last boot from the NAS, on the disk that iSCSI gives; nothing of ours is between.

    `is_copied`: a second copy of the image travels by hand from the start of the guest on.
    """
    host = site.host
    site.done("set", "host", "storageattr", NAS, "uploadspeed", SLOWLY)
    site.map(VOLUME)
    try:
        disk = f"/dev/{iscsi_disk(host, VOLUME)}"
        local = rf"<source dev='/dev/zvol/{_LOCAL_VOLUME}'[^>]*/>"
        document = re.sub(local, f"<source dev='{disk}'/><readonly/>", host.run(["cat", _DOMAIN]).text)
        host.write_file(_DOMAIN_ISCSI, document.encode())
        if is_copied:
            start_sending(site, VOLUME)
        return _boot(site, _DOMAIN_ISCSI, receiving(site) if is_copied else "")
    finally:
        if is_copied:
            host.run_any(["systemctl", "stop", REFERENCE], 60)
            site.nas.run_any(["systemctl", "stop", REFERENCE], 60)
            forget_copy(host, REFERENCE)
        site.done("set", "host", "storageattr", NAS, "uploadspeed", "none")
        site.unmap(VOLUME)
        forget_copy(host, VOLUME)


def iscsi_disk(host: LabMachine, volume: str) -> str:
    """The kernel's name of the iSCSI disk below a mapped image."""
    origin = f"/dev/mapper/{volume}-origin"
    return host.shell(f"lsblk -n -s -o KNAME,TYPE {origin} | awk '$2 == \"disk\" {{ print $1 }}'").strip()


def _boot_local(site: ImageSite) -> float:
    return _boot(site, _DOMAIN)


def _boot(site: ImageSite, domain: str, beside: str = "") -> float:
    """Seconds from QEMU's exec to the ready line; `beside` is a shell's command that runs on the host meanwhile."""
    host = site.host
    site.drop_caches()
    site.start_own_program(host, _WATCH, "console_watch", "boot", _LOCAL, "ready", str(_READY_SECONDS))
    if beside:
        host.start_program(REFERENCE, ["bash", "-c", beside])
    host.run(["virsh", "--quiet", "create", domain], 60)
    try:
        return float(last_report(host, _WATCH, "seconds", _READY_SECONDS)["seconds"])
    finally:
        host.run(["virsh", "--quiet", "destroy", _LOCAL], 60)


def local_domain(document: str) -> str:
    """The guest's own domain under another name, on the local volume, without its unique identifiers.

    Its console's log, which has the name of the guest's UUID, gets that of the domain.
    """
    document = document.replace(f"/dev/mapper/{VOLUME}-snap", f"/dev/zvol/{_LOCAL_VOLUME}")
    document = document.replace(GUEST, _LOCAL)
    document = re.sub(r"(<log file='[^']*/)[^/']*'", rf"\1{_LOCAL}.console.log'", document)
    for element in ("interface", "metadata", "uuid"):
        document = re.sub(rf"<{element}\b.*?</{element}>", "", document, flags=re.DOTALL)
    return re.sub(r"<domain [^>]*?(type='[a-z]+')[^>]*>", r"<domain \1>", document, count=1)


def forget_copy(host: LabMachine, volume: str) -> None:
    """Remove a host's copy of an unmapped image, so that the next map finds none."""
    name = f"{HOST_POOL}/{volume}"
    host.shell(
        f"zfs list -H -o name {name} >/dev/null 2>&1 || exit 0\n"
        f"for snapshot in $(zfs list -H -o name -t snapshot {name}); do\n"
        "  for tag in $(zfs holds -H $snapshot | cut -f 2); do zfs release $tag $snapshot; done\n"
        "done\n"
        # udev may hold it open for a moment
        f"for try in 1 2 3 4 5 6; do zfs destroy -r {name} && exit 0; sleep 1; done\n"
        "exit 1\n",
        _ZFS_SECONDS,
    )


def _mapping(site: ImageSite) -> Row:
    for size_gb in SIZES_GB:
        site.done("add", "host", "storageimg", NAS, POOL, _sparse(size_gb), f"size={size_gb}")
    taken = in_turns([lambda size_gb=size_gb: _map(site, size_gb) for size_gb in SIZES_GB], MAP_ROUNDS)  # type: ignore[misc]
    times: Sequence[float] = [typical(seconds) for seconds in taken]
    listed = ", ".join(f"{seconds:.2f} s" for seconds in times)
    sizes = ", ".join(str(size) for size in SIZES_GB)
    how = f"`rocks add host storagemap` for {sizes} GB, sparse: {listed}, medians of {MAP_ROUNDS}, in turns"
    return at_most("R1", MAP_WHAT, times[-1] / times[0], MAP_LIMIT, "", how)


def _map(site: ImageSite, size_gb: int) -> float:
    begin = time.perf_counter()
    site.map(_sparse(size_gb), size_gb)
    seconds = time.perf_counter() - begin
    site.unmap(_sparse(size_gb))
    forget_copy(site.host, _sparse(size_gb))
    return seconds


def _sparse(size_gb: int) -> str:
    return f"sparse-{size_gb}"
