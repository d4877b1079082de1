"""`rocks move host vm live=yes` of a machine whose disk is an image on the NAS, on real devices.

The guest counts on its disk and on its console; its disk is judged bit for bit when the NAS has it again.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab.image_site import GUEST, ImageSite
from tests.patience import patience

SUBJECTS = ("src/rocks/storage", "src/rocks/agent")

_SECONDS = 240.0
MOVE = ("move", "host", "vm", GUEST)


@contextmanager
def _silence(images: ImageSite) -> Iterator[None]:
    """Print the longest time in which the guest did not count, as both hosts' logs show it."""
    ended = threading.Event()
    gaps: list[float] = []

    def watch() -> None:
        last, at = 0, time.monotonic()
        while not ended.is_set():
            now = max(images.site.count(host, GUEST) for host in ("vmh1", "vmh2"))
            if now > last:
                last, gap, at = now, time.monotonic() - at, time.monotonic()
                gaps.append(gap)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
    print(f"the guest was silent for at most {max(gaps[1:]):.1f} s")


def test_a_machine_moves_with_its_image_and_back_after_the_command_was_killed(images: ImageSite) -> None:
    """It counts on; its image has one host at a time, and the NAS has all that the guest has written on both."""
    site = images.site
    site.start(GUEST)
    site.wait_for_count("vmh1", GUEST, beyond=0)
    images.wait_until_local("vmh1")
    images.wait_for_state("mapped")
    before = site.count("vmh1", GUEST)
    with _silence(images):
        print(site.done(*MOVE, "vmh2", "live=yes"))
        there = site.wait_for_count("vmh2", GUEST, beyond=before)
    assert site.domain_state("vmh1", GUEST) == "absent"
    assert images.device_status(site.lab["vmh1"]) == "absent"
    images.wait_until_local("vmh2")
    images.wait_for_state("mapped")
    assert site.status(GUEST) == "active"  # a host of the lab is slow while an image is copied to it

    # back; the command is killed when the machine has arrived, and its image has not
    command = site.frontend.begin(*MOVE, "vmh1", "live=yes")
    end_at = time.monotonic() + patience(_SECONDS)
    while site.domain_state("vmh1", GUEST) != "paused" or images.state().startswith("mapped"):
        assert time.monotonic() < end_at and command.poll() is None
        time.sleep(0.2)
    command.send_signal(signal.SIGKILL)
    command.communicate()
    refused = site.rocks("resume", "host", "vm", GUEST)
    assert refused.exit_status == 1 and f"rocks move host vm {GUEST} vmh1 live=yes" in refused.error_text
    print(site.done(*MOVE, "vmh1", "live=yes"))
    back = site.wait_for_count("vmh1", GUEST, beyond=there)
    assert site.domain_state("vmh2", GUEST) == "absent"

    site.done("stop", "host", "vm", GUEST)
    images.wait_for_state("unmapped")
    images.count_on_nas(max(back, site.count("vmh1", GUEST)))
    assert images.leftovers("vmh1") == [] and images.leftovers("vmh2") == []


def test_a_machine_moves_twenty_times_while_it_writes(images: ImageSite) -> None:
    """There and back, each time when its image is local again: no count is lost, and nothing is left on either host."""
    site = images.site
    site.start(GUEST)
    site.wait_for_count("vmh1", GUEST, beyond=0)
    here, there = "vmh1", "vmh2"
    for _ in range(20):
        images.wait_until_local(here, _SECONDS)
        images.wait_for_state("mapped", _SECONDS)
        before = site.count(here, GUEST)
        site.done(*MOVE, there, "live=yes")
        site.wait_for_count(there, GUEST, beyond=before)
        assert site.domain_state(here, GUEST) == "absent"
        here, there = there, here
    images.wait_until_local(here, _SECONDS)
    site.done("stop", "host", "vm", GUEST)
    images.wait_for_state("unmapped", _SECONDS)
    images.count_on_nas(site.count(here, GUEST))
    assert images.leftovers("vmh1") == [] and images.leftovers("vmh2") == []
