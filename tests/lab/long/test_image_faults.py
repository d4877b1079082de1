"""Machines and daemons die while an image is on its way; it arrives, with all that the guest reported.

Each test lives through some lives of one image, with another fault in each. What the host has kept is destroyed between
them, so that each begins with a copy of all of it.
"""

import time
from collections.abc import Callable

import pytest

from lab.machines import image_storage
from lab.machines.machine import LabMachine
from tests.lab.image_site import GUEST, NAS, VOLUME, ImageSite

SUBJECTS = ("src/rocks/storage",)

_MOMENTS = [1.0, 4.0, 7.0, 10.0, 13.0]
"""Seconds after the guest has begun to count; at the end it is local on a quiet machine."""
_DATA = 32, 16
"""First MiB of a part of the image that no guest reads, and its MiB."""
_CLEAR_CONFIGURATION = "import rtslib_fb; rtslib_fb.RTSRoot().clear_existing(confirm=True)"
"""What `targetcli clearconfig` does."""
_REMOVE_ENTRIES = "import rtslib_fb; [entry.delete() for entry in list(rtslib_fb.RTSRoot().node_acls)]"


def live(images: ImageSite, seconds: float, fault: Callable[[int], None], written_back: int = 0) -> int:
    """A guest counts beyond what is written back; some seconds later comes the fault, with the guest's last count. Then
    the image becomes local, the guest counts on and ends, and the image is written back whole. Returns its count."""
    images.forget_copy("vmh1")
    images.site.done("start", "host", "vm", GUEST)
    images.site.wait_for_count("vmh1", GUEST, beyond=written_back)
    time.sleep(seconds)
    seen = images.site.count("vmh1", GUEST)
    fault(seen)
    return finish(images, seen)


def kill_daemon(machine: LabMachine) -> None:
    """That of image storage, by SIGKILL."""
    machine.run(["systemctl", "kill", "--signal=KILL", image_storage.unit_of(machine)])


def finish(images: ImageSite, beyond: int) -> int:
    """It becomes local, counts on, ends, and is written back whole. Returns the count on the NAS."""
    images.wait_until_local("vmh1", 240)
    images.site.wait_for_count("vmh1", GUEST, beyond=beyond)
    images.site.done("stop", "host", "vm", GUEST)
    images.wait_for_state("unmapped", 240)
    written_back = images.count_on_nas(images.site.count("vmh1", GUEST))
    assert written_back > beyond
    assert images.leftovers("vmh1") == []
    return written_back


@pytest.mark.parametrize("seconds", _MOMENTS)
def test_daemons_are_killed(images: ImageSite, seconds: float) -> None:
    """SIGKILL to that of the NAS, in the next life to that of the host; systemd starts it again, and it goes on.

    The guest notices nothing.
    """
    nas, host = images.nas, images.site.lab["vmh1"]
    written_back = live(images, seconds, lambda seen: kill_daemon(nas))
    assert live(images, seconds, lambda seen: kill_daemon(host), written_back) > written_back


@pytest.mark.parametrize("seconds", _MOMENTS)
def test_machines_lose_their_power(images: ImageSite, seconds: float) -> None:
    """First the host: the guest is gone, what it had written is not, and started again it counts on from there.

    Then the NAS: the guest waits for its disk, and goes on when the NAS has made its exports again.
    """

    def nas_dies(seen: int) -> None:
        images.nas.kill()
        images.nas.boot()

    def host_dies(seen: int) -> None:
        host = images.site.lab["vmh1"]
        host.kill()
        host.boot()
        images.site.done("start", "host", "vm", GUEST)
        images.site.wait_for_count("vmh1", GUEST, beyond=seen - 1)

    written_back = live(images, seconds, host_dies)
    assert live(images, seconds, nas_dies, written_back) > written_back


def test_nas_is_cut_off_for_a_minute(images: ImageSite) -> None:
    """Before the image is local: the guest stalls, without an error, and goes on."""

    def cut(seen: int) -> None:
        images.nas.cut()
        time.sleep(60)
        images.nas.reconnect()

    assert live(images, 0, cut) > 0


@pytest.mark.parametrize("program", [_CLEAR_CONFIGURATION, _REMOVE_ENTRIES], ids=["all", "entries"])
def test_exports_are_removed_by_hand(images: ImageSite, program: str) -> None:
    """While it is copied; the NAS's daemon makes them again, and what is read from the NAS meanwhile is read then."""
    images.copy_slowly(*_DATA, "100K")
    expected = images.digest("nas", f"/dev/zvol/tank/{VOLUME}", *_DATA)

    def remove(seen: int) -> None:
        images.nas.run(["python3", "-c", program])
        assert images.digest("vmh1", f"/dev/mapper/{VOLUME}-snap", *_DATA) == expected
        log = ["journalctl", "-u", image_storage.unit_of(images.nas), "--grep", "LIO has lost the export"]
        assert images.nas.run_any(log).exit_status == 0
        images.site.done("set", "host", "storageattr", NAS, "uploadspeed", "none")

    assert live(images, 0, remove) > 0
