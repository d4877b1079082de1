"""A host hangs under a guest whose image is local there: it is fenced and evacuated, and comes back, on real devices.

The guest counts four times a second, on its disk and on its console.
"""

import re
import time
from pathlib import Path

from lab.machines.machine import LabMachine
from lab.processes import read_record
from tests.lab.image_site import GUEST, NAS, VOLUME, ImageSite
from tests.patience import patience

SUBJECTS = ("src/rocks/storage", "src/rocks/agent", "src/rocks/leases", "src/rocks/machine")

_PERIOD_SECONDS = 10
_COUNTS_A_SECOND = 4
_ADVICE = f"rocks clean host storagemap {NAS} {VOLUME} force=yes"


def _fence_command(host: LabMachine) -> str:
    """It ends the emulator of the host, as a power strip would end a host."""
    emulator = read_record(host.folder / "qemu")
    assert emulator is not None
    return f"kill -KILL {emulator.process_id}"


def _first_count(images: ImageSite, host: str) -> int:
    """The count with which the guest began there, as it has found it on its disk."""
    log = f"/var/log/libvirt/qemu/{GUEST}.console.log"
    found = re.findall(r"^start ([0-9A-F]{8})", images.site.lab[host].run(["cat", log]).text, re.MULTILINE)
    return int(found[-1], 16)


def test_a_host_that_hangs_is_evacuated_and_comes_back(images: ImageSite, tmp_path: Path) -> None:
    """Its changes since the last transfer are given up by an operator's word, not before; the guest runs once.

    What is lost is not older than two periods of transfers (R34), in counts of the guest.
    """
    site = images.site
    host = site.lab["vmh1"]
    fence = tmp_path / "fence"
    fence.touch(mode=0o600)
    fence.write_text(_fence_command(host))
    site.done("set", "host", "sec_attr", "vmh1", "vm_fence_command", f"file={fence}")
    site.done("set", "host", "zvolattr", NAS, VOLUME, "frequency", str(_PERIOD_SECONDS))
    site.start(GUEST)
    images.wait_until_local("vmh1")
    images.wait_for_state("mapped")
    site.wait_for_count(
        "vmh1", GUEST, site.count("vmh1", GUEST) + 3 * _PERIOD_SECONDS * _COUNTS_A_SECOND, 120
    )

    before = site.count("vmh1", GUEST)
    host.freeze()
    answer = site.rocks("evacuate", "host", "vmh1", "reason=the host hangs")
    print(answer.text, answer.error_text)
    assert answer.exit_status != 0 and _ADVICE in answer.error_text
    assert host.state().name == "OFF"

    print(site.done("clean", "host", "storagemap", NAS, VOLUME, "force=yes", "reason=fenced"))
    print(site.done("start", "host", "vm", GUEST))
    site.wait_for_count("vmh2", GUEST, beyond=0)
    images.wait_until_local("vmh2")

    host.boot()
    end_at = time.monotonic() + patience(120)
    while site.status(GUEST) != "active":
        assert time.monotonic() < end_at
        time.sleep(1)
    assert site.domain_state("vmh1", GUEST) in ("absent", "shut off")
    counted = site.wait_for_count("vmh2", GUEST, beyond=before, deadline_seconds=120)
    site.done("stop", "host", "vm", GUEST)
    images.wait_for_state("unmapped")
    images.count_on_nas(counted)
    assert images.leftovers("vmh2") == []
    lost = before - _first_count(images, "vmh2")
    print(f"{lost} counts were lost, of {lost / _COUNTS_A_SECOND:.1f} s")
    assert lost <= 2 * _PERIOD_SECONDS * _COUNTS_A_SECOND
