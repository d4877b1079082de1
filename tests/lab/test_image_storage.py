"""An image's whole life on real devices: from the NAS to a host while its guest runs, back, and to the other host.

The guest counts on its disk and on its console; its disk is judged bit for bit at each step.
"""

import re
import time

from tests.lab.image_site import GUEST, NAS, VOLUME, ImageSite
from tests.patience import patience

SUBJECTS = ("src/rocks/storage", "src/rocks/agent")

_SECONDS = 240.0


def test_image_is_copied_to_its_host_and_written_back(images: ImageSite) -> None:
    """Boots from the NAS, becomes local while it counts, does without the NAS, is written back, counts on elsewhere."""
    site = images.site
    site.done("start", "host", "vm", GUEST)
    booted = site.wait_for_count("vmh1", GUEST, beyond=0)
    images.wait_until_local("vmh1")
    local = site.wait_for_count("vmh1", GUEST, beyond=booted)
    assert site.lab["vmh1"].run_any(["iscsiadm", "-m", "session"]).exit_status != 0

    images.nas.cut()
    without = site.wait_for_count("vmh1", GUEST, beyond=local + 20)
    images.nas.reconnect()

    # libvirt's hook, the host's daemon and the NAS do the rest
    site.done("stop", "host", "vm", GUEST)
    reported = site.count("vmh1", GUEST)
    assert reported >= without
    images.wait_for_state("unmapped")
    written_back = images.count_on_nas(reported)
    assert images.leftovers("vmh1") == []

    site.done("set", "host", "vm", GUEST, "physnode=vmh2")
    site.done("start", "host", "vm", GUEST)
    moved = site.wait_for_count("vmh2", GUEST, beyond=written_back)
    images.wait_until_local("vmh2")
    site.done("stop", "host", "vm", GUEST)
    site.done("stop", "host", "vm", GUEST, "terminate=yes")
    assert images.state() == "unmapped"
    elsewhere = images.count_on_nas(max(moved, site.count("vmh2", GUEST)))
    assert images.leftovers("vmh2") == []

    # what the first host kept is older than the NAS's: only the difference travels
    site.done("set", "host", "vm", GUEST, "physnode=vmh1")
    site.done("start", "host", "vm", GUEST)
    counted = site.wait_for_count("vmh1", GUEST, beyond=elsewhere)
    images.wait_until_local("vmh1")
    images.wait_for_state("mapped")  # until the NAS has recorded the switch, it marks no snapshot
    snapshot = ("host", "vm", "snapshot", GUEST, "counting")
    added = site.rocks("add", *snapshot)
    assert added.exit_status == 0 and "as after a power cut" in added.error_text
    site.wait_for_count("vmh1", GUEST, beyond=site.count("vmh1", GUEST) + 20)
    site.done("stop", "host", "vm", GUEST)
    images.wait_for_state("unmapped")
    last = images.count_on_nas(site.count("vmh1", GUEST))
    refused = site.rocks("remove", "host", "storageimg", NAS, "tank", VOLUME, "now=yes")
    assert (
        refused.exit_status != 0
        and 'it is part of the snapshot "counting" of its machine' in refused.error_text
    )
    restored = site.rocks("restore", *snapshot)
    assert restored.exit_status == 0, restored.error_text
    assert images.count_on_nas(counted) < last
    site.done("start", "host", "vm", GUEST)
    site.wait_for_count("vmh1", GUEST, beyond=counted)
    site.done("stop", "host", "vm", GUEST)
    images.wait_for_state("unmapped")
    site.done("remove", *snapshot)
    assert images.leftovers("vmh1") == []


def test_a_saved_machine_continues_with_the_image_that_has_not_left_its_host(images: ImageSite) -> None:
    """Saved while it reads from the NAS, the image is copied meanwhile; then saved over a boot of its host."""
    site = images.site
    site.done("start", "host", "vm", GUEST)
    site.wait_for_count("vmh1", GUEST, beyond=0)
    site.done("save", "host", "vm", GUEST)
    saved = site.count("vmh1", GUEST)
    images.wait_until_local("vmh1")
    images.wait_for_state("mapped")  # the NAS has recorded it
    site.done("sync", "host", "storagemap", NAS, VOLUME)
    for command in (
        ("remove", "host", "storagemap", NAS, VOLUME),
        ("clean", "host", "storagemap", NAS, VOLUME, "force=yes", "reason=test"),
        ("stop", "host", "vm", GUEST, "terminate=yes"),
    ):
        refused = site.rocks(*command)
        assert refused.exit_status != 0 and f"rocks stop host vm {GUEST} saved=remove" in refused.error_text
    images.wait_for_state("mapped")
    site.done("restore", "host", "vm", GUEST)
    continued = site.wait_for_count("vmh1", GUEST, beyond=saved)

    site.done("save", "host", "vm", GUEST)
    saved = max(continued, site.count("vmh1", GUEST))
    site.lab["vmh1"].reboot()
    end_at = time.monotonic() + patience(_SECONDS)
    while (restored := site.rocks("restore", "host", "vm", GUEST)).exit_status != 0:
        assert time.monotonic() < end_at, restored.error_text
        time.sleep(2.0)
    continued = site.wait_for_count("vmh1", GUEST, beyond=saved)
    # a guest that boots says where it begins; libvirt may have begun a new log
    log = site.lab["vmh1"].run(["cat", f"/var/log/libvirt/qemu/{GUEST}.console.log"]).text
    assert set(re.findall("start ([0-9A-Fa-f]{8})", log)) <= {"00000000"} and "lost " not in log

    site.done("save", "host", "vm", GUEST)
    reported = max(continued, site.count("vmh1", GUEST))
    site.done("stop", "host", "vm", GUEST, "saved=remove")
    images.wait_for_state("unmapped")
    images.count_on_nas(reported)
    assert images.leftovers("vmh1") == []
