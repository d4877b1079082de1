"""An image's whole life on real devices: from the NAS to a host while its guest runs, home, and to the other host.

The guest counts on its disk and on its console; its disk is judged bit for bit at each step.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

import lab.instruments
from lab.machines import image_storage
from lab.machines.machine import LabMachine
from lab.progress import Progress
from tests.lab.lab_site import LabSite

GUEST, VOLUME, NAS = "vm-vc1-0", "vm-vc1-0-vol", "nas-0-0"
_SIZE_MB = 64
_VERIFIER = "/root/verifier.py"


@pytest.fixture
def site_with_images(site: LabSite) -> LabSite:
    """Daemons on all machines, and the guest's disk as a volume on the NAS."""
    image_storage.set_up(site.lab, site.frontend, Progress())
    nas = site.lab["nas"]
    guest = "/root/counting_guest.bin"
    nas.copy_in(site.lab.counting_guest, guest)
    nas.copy_in(Path(lab.instruments.__file__).parent / "verifier.py", _VERIFIER)
    nas.shell(
        f"zfs create -s -V {_SIZE_MB}M -o volblocksize=16k tank/{VOLUME}\n"
        "udevadm settle\n"
        f"dd if={guest} of=/dev/zvol/tank/{VOLUME} conv=fsync status=none\n",
        60,
    )
    site.done("set", "host", "vm", "nas", GUEST, f"nas={NAS}", "zpool=tank")
    return site


def state_of(site: LabSite) -> str:
    """What `rocks list host storagemap` says of the image."""
    rows = site.ask("list", "host", "storagemap", NAS)
    found = [row for host in rows for row in host["storagemap"] if row["zvol"] == VOLUME]
    return str(found[0]["state"]) if found else "absent"


def device_status(host: LabMachine) -> str:
    """The guest's device-mapper table on a host, `absent` when there is none."""
    answer = host.run_any(["dmsetup", "table", f"{VOLUME}-snap"])
    return answer.text.split()[2] if answer.exit_status == 0 else "absent"


def wait_until_local(site: LabSite, host: str, deadline_seconds: float = 180) -> None:
    """Until the guest's device is the host's own volume."""
    end_at = time.monotonic() + deadline_seconds
    while device_status(site.lab[host]) != "linear":
        assert time.monotonic() < end_at, device_status(site.lab[host])
        time.sleep(1)


def bring_home(site: LabSite) -> None:
    """The guest's power is taken, and then what was allocated for it is freed; that waits for the last change."""
    site.done("stop", "host", "vm", GUEST)
    site.done("stop", "host", "vm", GUEST, "terminate=true")


def count_at_home(site: LabSite, at_least: int) -> int:
    """What the verifier says of the NAS's volume: whole, and with all that the guest had reported."""
    nas = site.lab["nas"]
    judged = nas.run_any(["python3", _VERIFIER, f"/dev/zvol/tank/{VOLUME}", f"at-least={at_least}"], 60)
    assert judged.exit_status == 0, judged.text
    return int(json.loads(judged.text)["count"])


def test_image_goes_to_its_host_and_comes_home(site_with_images: LabSite) -> None:
    """Boots from the NAS, becomes local while it counts, does without the NAS, comes home, counts on elsewhere."""
    site = site_with_images
    vmh1, vmh2, nas = site.lab["vmh1"], site.lab["vmh2"], site.lab["nas"]
    site.done("start", "host", "vm", GUEST)
    booted = site.wait_for_count("vmh1", GUEST, beyond=0)
    wait_until_local(site, "vmh1")
    assert vmh1.run_any(["iscsiadm", "-m", "session"]).exit_status != 0
    assert "target" not in nas.shell("ls /sys/kernel/config/target/iscsi 2>/dev/null | grep ^iqn || true")
    local = site.wait_for_count("vmh1", GUEST, beyond=booted)

    nas.cut()
    without = site.wait_for_count("vmh1", GUEST, beyond=local + 20)
    nas.mend()

    bring_home(site)
    reported = site.count("vmh1", GUEST)
    assert reported >= without
    assert state_of(site) == "unmapped"
    home = count_at_home(site, reported)
    assert device_status(vmh1) == "absent"

    site.done("set", "host", "vm", GUEST, "physnode=vmh2")
    site.done("start", "host", "vm", GUEST)
    moved = site.wait_for_count("vmh2", GUEST, beyond=home)
    wait_until_local(site, "vmh2")
    bring_home(site)
    assert count_at_home(site, site.count("vmh2", GUEST)) >= moved
    assert device_status(vmh2) == "absent"
