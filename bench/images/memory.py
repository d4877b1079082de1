"""R17: the memory of the daemons with a thousand images in their records."""

from __future__ import annotations

import time

from bench.images.site import NAS, ImageSite
from bench.table import Found, Row, at_most
from lab.machines import image_storage
from lab.machines.machine import LabMachine

IMAGES = 1000
LIMIT_MB = 80.0
LISTINGS = 3
SETTLE_SECONDS = 5
WHAT = "memory of the {}'s image daemon with 1,000 images"

_STORES = "/var/lib/rocks/imgstorage"
_START_SECONDS = 150
_KB_PER_MB = 1000 / 1.024


def measure(site: ImageSite) -> Found:
    """Records of images without volumes; both daemons start with them and answer requests for lists."""
    rows = []
    for role, machine in (("nas", site.nas), ("host", site.host)):
        unit = image_storage.unit_of(machine)
        machine.run(["systemctl", "stop", unit], 90)
        machine.shell(f"rm -rf {_STORES}.before\nmv {_STORES} {_STORES}.before\n")
        try:
            site.run_own_program(machine, "filled_store", role, str(IMAGES), deadline_seconds=120)
            machine.run(["systemctl", "start", unit], _START_SECONDS)
            rows.append(_row(site, role, machine, unit))
        finally:
            machine.run_any(["systemctl", "stop", unit], 90)
            machine.shell(
                f"rm -rf {_STORES}\nmv {_STORES}.before {_STORES}\nsystemctl start {unit}\n", _START_SECONDS
            )
    return Found(rows)


def _row(site: ImageSite, role: str, machine: LabMachine, unit: str) -> Row:
    for _ in range(LISTINGS):
        if role == "nas":
            listed = site.done("list", "host", "storagemap", NAS)
            assert listed.count("vm-filled-") >= IMAGES
        else:
            site.done("list", "host", "storagedev", machine.name)
    time.sleep(SETTLE_SECONDS)
    number = machine.run(["systemctl", "show", "--property=MainPID", "--value", unit]).text.strip()
    memory_map = machine.run(["cat", f"/proc/{number}/smaps_rollup"]).text
    figures = {
        line.split(":")[0]: int(line.split()[1]) for line in memory_map.splitlines() if line.endswith("kB")
    }
    how = (
        f"resident (RSS); its own share of that (PSS) is {figures['Pss'] / _KB_PER_MB:.1f} MB; records filled, "
        f"daemon started, {LISTINGS} lists asked for"
    )
    what = WHAT.format("NAS" if role == "nas" else "host")
    return at_most("R17", what, figures["Rss"] / _KB_PER_MB, LIMIT_MB, "MB", how)
