"""Pools of NAS and host without free space, on real ZFS: what waits, what is remembered, and nothing is lost."""

import threading
import time

import pytest

from tests.lab.full_pools import free_space, leave_free
from tests.lab.image_site import GUEST, NAS, VOLUME, ImageSite
from tests.patience import patience

SUBJECTS = ("src/rocks/storage",)

_FIRST_MB = 20
"""Where the guest, which counts on the first megabytes of its disk, does not write."""

_WRITTEN_MB = 16
_LONGER_THAN_FIVE_TRIES_SECONDS = 25.0


@pytest.fixture
def images(images: ImageSite) -> ImageSite:
    """The guest runs, and its image is local."""
    images.site.done("start", "host", "vm", GUEST)
    images.site.wait_for_count("vmh1", GUEST, beyond=0)
    images.wait_until_local("vmh1")
    images.wait_for_state("mapped")
    return images


def write_on_host(images: ImageSite) -> str:
    """New data on the guest's disk, as by the guest; returns its digest."""
    images.site.lab["vmh1"].shell(
        f"dd if=/dev/urandom of=/dev/mapper/{VOLUME}-snap bs=1M seek={_FIRST_MB} count={_WRITTEN_MB} "
        "oflag=direct conv=notrunc status=none\n",
        60,
    )
    return images.digest("vmh1", f"/dev/mapper/{VOLUME}-snap", _FIRST_MB, _WRITTEN_MB)


def wait_for_note(images: ImageSite, expected: str, deadline_seconds: float = 60) -> str:
    """Until the last column of `list host storagemap` has the words; returns it."""
    end_at = time.monotonic() + patience(deadline_seconds)
    while expected not in (note := images.note()):
        assert time.monotonic() < end_at, f"the image is {images.state()}: {note!r}, without {expected!r}"
        time.sleep(1)
    return note


def assert_written_back(images: ImageSite, digest: str, counted: int) -> None:
    """The NAS has all that was written on the host, and nothing is left over."""
    images.wait_for_state("unmapped")
    assert images.digest("nas", f"/dev/zvol/tank/{VOLUME}", _FIRST_MB, _WRITTEN_MB) == digest
    images.count_on_nas(counted)
    assert images.leftovers("vmh1") == []


def test_end_of_a_guest_is_remembered_while_blocked_and_waits_for_space(images: ImageSite) -> None:
    """A snapshot that only the NAS has blocks the image; meanwhile its guest ends. Without the snapshot the image
    goes on, into a pool without space: that is no failure, however often it is tried. With space it is written back.
    """
    site = images.site
    digest = write_on_host(images)
    images.nas.run(["zfs", "snapshot", f"tank/{VOLUME}@foreign"])
    refused = site.rocks("sync", "host", "storagemap", NAS, VOLUME)
    assert refused.exit_status == 1 and "foreign" in refused.error_text, refused.error_text
    images.wait_for_state("blocked")

    site.done("stop", "host", "vm", GUEST)
    counted = site.count("vmh1", GUEST)
    remembered = site.rocks("remove", "host", "storagemap", NAS, VOLUME)
    assert remembered.exit_status == 1 and "remembered" in remembered.error_text, remembered.error_text
    images.nas.run(["systemctl", "restart", "rocks-imgstorage-nas"], 60)

    images.nas.run(["zfs", "destroy", f"tank/{VOLUME}@foreign"])
    leave_free(images.nas, _WRITTEN_MB // 2)
    site.done("clean", "host", "storagemap", NAS, VOLUME)
    note = wait_for_note(images, "waits for space")
    assert "the pool tank of nas-0-0 has " in note and f"are needed for the changes of {VOLUME}" in note
    time.sleep(_LONGER_THAN_FIVE_TRIES_SECONDS)
    assert images.state() == "NAS<-VM" and "waits for space" in images.note()
    free_space(images.nas)
    assert_written_back(images, digest, counted)


def test_nas_pool_that_fills_during_a_transfer(images: ImageSite) -> None:
    """ZFS ends the receive in its middle. The guest counts on; the command that wrote back waits, and succeeds."""
    site = images.site
    digest = write_on_host(images)
    site.done("set", "host", "storageattr", NAS, "downloadspeed", "300K")
    results = []
    pulling = threading.Thread(
        target=lambda: results.append(site.rocks("sync", "host", "storagemap", NAS, VOLUME))
    )
    pulling.start()
    wait_for_bytes(images)
    leave_free(images.nas, 0)
    note = wait_for_note(images, "waits for space")
    assert "the pool tank of nas-0-0 has " in note
    site.wait_for_count("vmh1", GUEST, beyond=site.count("vmh1", GUEST) + 10)
    assert pulling.is_alive()
    free_space(images.nas)
    site.done("set", "host", "storageattr", NAS, "downloadspeed", "none")
    pulling.join(180)
    assert [result.exit_status for result in results] == [0], results
    assert images.digest("nas", f"/dev/zvol/tank/{VOLUME}", _FIRST_MB, _WRITTEN_MB) == digest
    site.done("stop", "host", "vm", GUEST)
    assert_written_back(images, digest, site.count("vmh1", GUEST))


def wait_for_bytes(images: ImageSite) -> None:
    """Until the NAS has received a part."""
    end_at = time.monotonic() + patience(60)
    while not any(row["bytes"] for nas in images.operations() for row in nas["storageop"]):
        assert time.monotonic() < end_at, "no transfer begins"
        time.sleep(0.5)


def test_host_pool_that_fills_under_a_local_image(images: ImageSite) -> None:
    """QEMU stops the guest at a write that fails; with space it counts on. When it ends in a full pool, its last
    snapshot waits for space, and nothing is lost.
    """
    site, host = images.site, images.site.lab["vmh1"]
    digest = write_on_host(images)
    leave_free(host, 0)
    host.wait_for(["virsh", "--quiet", "domstate", "--reason", GUEST], "paused (I/O error)", 120)
    stopped_at = site.count("vmh1", GUEST)
    images.wait_for_device_note("the guest is paused: no free space in the pool for its writes")
    assert site.status(GUEST) == "paused"
    free_space(host)
    site.wait_for_count("vmh1", GUEST, beyond=stopped_at)
    images.wait_for_device_note(None)

    leave_free(host, 0)
    site.done("stop", "host", "vm", GUEST)
    counted = site.count("vmh1", GUEST)
    note = wait_for_note(images, "the pool is full")
    assert "vmpool" in note
    time.sleep(_LONGER_THAN_FIVE_TRIES_SECONDS)
    assert images.state() == "NAS<-VM"
    free_space(host)
    assert_written_back(images, digest, counted)
