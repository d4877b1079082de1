"""A full pool while an image is copied: its guest is paused in time, and resumed."""

import time

import pytest

from rocks.storage.image.space import unreservable_bytes
from tests.lab.image_site import GUEST, NAS, VOLUME, ImageSite

SUBJECTS = ("src/rocks/storage",)

_POOL = "vmpool"
_DATA_MB = 40
_MB = 2**20
_DEVICE = f"/dev/mapper/{VOLUME}-snap"
_WRITE_MB = 1
_LOOKS, _LOOK_SECONDS = 4, 3
_FIRST_MB = 20
"""Where the guest, which counts on the first megabytes of its disk, does not write."""


@pytest.fixture
def images(images: ImageSite) -> ImageSite:
    """The image has data that is copied slowly."""
    images.copy_slowly(_FIRST_MB, _DATA_MB, "100K")
    return images


def is_paused_to_stay(images: ImageSite) -> bool:
    """A guest that writes fast is paused for some seconds at a time, before it must be for lack of free space."""
    for _ in range(_LOOKS):
        if images.site.domain_state("vmh1", GUEST) != "paused":
            return False
        time.sleep(_LOOK_SECONDS)
    return True


@pytest.mark.parametrize(("above_reserve", "left_mb"), [(True, 12), (False, 16)])
def test_guest_is_paused_before_its_temp_write_volume_is_full(
    images: ImageSite, above_reserve: bool, left_mb: int
) -> None:
    """Another volume fills the pool to just above or to below the reserve, and the disk is written to until the
    daemon pauses the guest: device-mapper has lost nothing by then.

    With free space again the guest counts on, and its image becomes local and is written back whole.
    """
    site, host = images.site, images.site.lab["vmh1"]
    used, free = map(int, host.run(["zfs", "list", "-Hpo", "used,available", _POOL]).text.split())
    left = left_mb * _MB + (unreservable_bytes(used + free) if above_reserve else 0)
    site.done("start", "host", "vm", GUEST)
    site.wait_for_count("vmh1", GUEST, beyond=0)
    host.shell(
        f"zfs set refreservation=none {_POOL}/{VOLUME}-temp-write\n"
        f"zfs create -o mountpoint=none {_POOL}/junk\n"
        "zpool sync\n"
        f"free=$(zfs list -H -p -o available {_POOL})\n"
        f"zfs set reservation=$(( free - {left} )) {_POOL}/junk\n",
        60,
    )
    written = 0
    while not is_paused_to_stay(images):
        assert written < left_mb, f"{written} MB are written, and the guest runs"
        host.shell(
            f"dd if=/dev/urandom of={_DEVICE} bs=1M seek={_FIRST_MB + written} count={_WRITE_MB} "
            "oflag=direct conv=notrunc status=none\n",
            60,
        )
        written += _WRITE_MB
        time.sleep(_LOOK_SECONDS)  # a guest would not write on once it is paused
    status = host.run(["dmsetup", "status", f"{VOLUME}-snap"]).text
    print(f"paused after {written} MB, {left_mb} were left: {status.strip()}")
    assert status.split()[2] == "snapshot" and "/" in status.split()[3], status
    assert images.device_note("vmh1") == "the guest is paused: no free space in the pool for its writes"
    assert images.site.status(GUEST) == "paused"

    stopped_at = site.count("vmh1", GUEST)
    host.shell(f"zfs destroy {_POOL}/junk\n", 60)
    site.wait_for_count("vmh1", GUEST, beyond=stopped_at)
    assert images.device_note("vmh1") is None
    site.done("set", "host", "storageattr", NAS, "uploadspeed", "none")
    images.wait_until_local("vmh1")
    site.done("stop", "host", "vm", GUEST)
    images.wait_for_state("unmapped")
    images.count_on_nas(site.count("vmh1", GUEST))
    assert images.leftovers("vmh1") == []
