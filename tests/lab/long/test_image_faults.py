"""Machines and daemons die while an image is on its way; it arrives, with all that the guest reported."""

from __future__ import annotations

import time

import pytest

from lab.machines import image_storage
from tests.lab.image_site import GUEST, ImageSite
from tests.lab.lab_site import LabSite

_MOMENTS = [1.0, 4.0, 7.0, 10.0, 13.0]
"""Seconds after the guest has begun to count; at the end it is local on a quiet machine."""


@pytest.fixture
def images(site: LabSite) -> ImageSite:
    """Daemons on all machines, nothing mapped."""
    made = ImageSite(site)
    made.set_up()
    return made


def begin(images: ImageSite, seconds: float) -> int:
    """A guest that counts, and so many seconds later; its last count."""
    images.site.done("start", "host", "vm", GUEST)
    images.site.wait_for_count("vmh1", GUEST, beyond=0)
    time.sleep(seconds)
    return images.site.count("vmh1", GUEST)


def finish(images: ImageSite, beyond: int) -> int:
    """It becomes local, counts on, ends, and is at home whole; returns the count that is at home."""
    images.wait_until_local("vmh1", 240)
    images.site.wait_for_count("vmh1", GUEST, beyond=beyond)
    images.site.done("stop", "host", "vm", GUEST)
    images.wait_for_state("unmapped", 240)
    home = images.count_at_home(images.site.count("vmh1", GUEST))
    assert images.leftovers("vmh1") == []
    return home


@pytest.mark.parametrize("seconds", _MOMENTS)
@pytest.mark.parametrize("name", ["nas", "vmh1"])
def test_daemon_is_killed(images: ImageSite, name: str, seconds: float) -> None:
    """SIGKILL; systemd starts it again, and it goes on. The guest notices nothing."""
    seen = begin(images, seconds)
    machine = images.site.lab[name]
    machine.run(["systemctl", "kill", "--signal=KILL", image_storage.unit_of(machine)])
    assert finish(images, seen) > seen


@pytest.mark.parametrize("seconds", _MOMENTS)
def test_nas_loses_its_power(images: ImageSite, seconds: float) -> None:
    """The guest waits for its disk, and goes on when the NAS is back and has made its exports again."""
    seen = begin(images, seconds)
    images.nas.kill()
    images.nas.boot()
    assert finish(images, seen) > seen


@pytest.mark.parametrize("seconds", _MOMENTS)
def test_host_loses_its_power(images: ImageSite, seconds: float) -> None:
    """The guest is gone, what it had written is not: started again it counts on from there."""
    seen = begin(images, seconds)
    host = images.site.lab["vmh1"]
    host.kill()
    host.boot()
    images.site.done("start", "host", "vm", GUEST)
    images.site.wait_for_count("vmh1", GUEST, beyond=seen - 1)
    assert finish(images, seen) > seen


def test_nas_is_cut_off_for_a_minute(images: ImageSite) -> None:
    """Before the image is local: the guest stalls, without an error, and goes on."""
    seen = begin(images, 0)
    images.nas.cut()
    time.sleep(60)
    images.nas.mend()
    assert finish(images, seen) > seen
