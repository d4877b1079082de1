"""R15: a guest whose disk is still on the NAS, and the NAS cut off for a while."""

from __future__ import annotations

import time

from bench.images.boots import SLOWLY, forget_copy
from bench.images.site import GUEST, NAS, POOL, VOLUME, ImageSite, last_report
from bench.table import Found, at_most

OUTAGE_SECONDS = 20
BEFORE_SECONDS, AFTER_SECONDS = 5, 30
LIMIT = 1.5
WHAT = "guest's stall over an outage of its NAS / the outage"

_WATCH = "beat-watch"


def measure(site: ImageSite) -> Found:
    """The guest reads four times a second; the longest silence is its stall. An error of its disk would be reported."""
    host = site.host
    if site.state(VOLUME) == "absent":
        site.add_clone(VOLUME)
        site.put_guest("reading")
        site.done("set", "host", "vm", "nas", GUEST, f"nas={NAS}", f"zpool={POOL}")
    site.done("set", "host", "storageattr", NAS, "uploadspeed", SLOWLY)  # not local too soon
    site.done("start", "host", "vm", GUEST)
    host.wait_for(["tail", "-c", "100", f"/var/log/libvirt/qemu/{GUEST}.console.log"], "beat", 120)
    seconds = BEFORE_SECONDS + OUTAGE_SECONDS + AFTER_SECONDS
    site.start_own_program(host, _WATCH, "console_watch", "beats", GUEST, str(seconds))
    time.sleep(BEFORE_SECONDS)
    begin = time.monotonic()
    site.nas.cut()
    try:
        time.sleep(OUTAGE_SECONDS)
    finally:
        site.nas.reconnect()
    cut_seconds = time.monotonic() - begin
    report = last_report(host, _WATCH, "longest", seconds + 30)
    runs = host.run(["virsh", "--quiet", "domstate", GUEST]).text.strip() == "running"
    table = site.table(host)
    site.done("stop", "host", "vm", GUEST)
    site.wait_for_state(VOLUME, "unmapped")
    forget_copy(host, VOLUME)
    site.done("set", "host", "storageattr", NAS, "uploadspeed", "none")
    how = (
        f"{report['longest']:.1f} s / {cut_seconds:.1f} s with the NAS's cable out, its disk a {table} over it; "
        f"{report['beats']} reads, {report['errors']} errors, the guest {'runs' if runs else 'does not run'} afterwards"
    )
    row = at_most("R15", WHAT, report["longest"] / cut_seconds, LIMIT, "", how)
    is_whole = runs and not report["errors"] and table == "snapshot"
    return Found([row._replace(is_met=bool(row.is_met) and is_whole)])
