"""Disks of machines as clones of one image on the NAS, on real ZFS: made, written back, and removed."""

import hashlib
import json
import threading
import time
from pathlib import Path

import pytest

from rocks.storage.wire.names import base_volume
from tests.lab.image_site import GUEST, NAS, VOLUME, ImageSite
from tests.lab.lab_site import LabSite
from tests.patience import patience

SUBJECTS = ("src/rocks/storage", "src/rocks/library")

OTHER = "vm-vc1-1"
SIZE_MB = 64
_SECONDS = 240.0


@pytest.fixture
def images(site: LabSite, tmp_path: Path) -> ImageSite:
    """Daemons on all machines; the guest that counts is an image of the library, and both machines have it."""
    made = ImageSite(site)
    made.set_up()
    remove = ("remove", "host", "storageimg", NAS, "tank")
    site.done(*remove, VOLUME, "now=yes")
    file = tmp_path / "counting.raw"
    file.write_bytes(site.lab.counting_guest.read_bytes())
    with file.open("r+b") as whole:
        whole.truncate(SIZE_MB << 20)
    site.done("set", "attr", "image_library", str(tmp_path / "library"))
    site.done("add", "image", "counting", f"file={file}")
    for guest in (GUEST, OTHER):
        site.done("set", "host", "vm", "nas", guest, f"nas={NAS}", "zpool=tank")
        site.done("set", "host", "attr", guest, "vm_image", "counting")
    return made


def base_of(site: LabSite) -> str:
    """The volume of the image."""
    (row,) = [row for one in site.ask("list", "image", "counting") for row in one["image"]]
    return base_volume(str(row["digest"]))


def digest_on_nas(images: ImageSite, volume: str) -> str:
    """The SHA-256 of as much of a volume as the image has."""
    device = f"/dev/zvol/tank/{volume}"
    return images.nas.shell(f"dd if={device} bs=1M count={SIZE_MB} status=none | sha256sum\n", 60).split()[0]


def test_two_machines_are_clones_of_one_base(images: ImageSite, tmp_path: Path) -> None:
    """Stored once; the NAS is killed meanwhile; what one machine writes comes back to its own disk only."""
    site, base = images.site, base_of(images.site)
    expected = hashlib.sha256((tmp_path / "counting.raw").read_bytes()).hexdigest()
    killed = threading.Thread(target=kill_while_it_receives, args=(images, base))
    killed.start()
    first = site.rocks("start", "host", "vm", GUEST)
    killed.join()
    end_at = time.monotonic() + patience(_SECONDS)
    while site.status(GUEST) != "active":
        assert time.monotonic() < end_at, first.error_text
        print(f"the start again, after: {first.error_text.strip()[-300:]}")
        first = site.rocks("start", "host", "vm", GUEST)
        time.sleep(1)
    booted = site.wait_for_count("vmh1", GUEST, beyond=0)
    images.wait_until_local("vmh1")
    site.wait_for_count("vmh1", GUEST, beyond=booted + 20)
    assert digest_on_nas(images, base) == expected

    site.done("stop", "host", "vm", GUEST)
    images.wait_for_state("unmapped")
    images.count_on_nas(site.count("vmh1", GUEST))
    assert digest_on_nas(images, base) == expected
    assert images.leftovers("vmh1") == []
    origins = images.nas.shell(f"zfs get -H -o value origin tank/{VOLUME}\n", 60)
    assert origins.strip() == f"tank/{base}@base"
    assert images.nas.run_any(["dd", "if=/dev/zero", f"of=/dev/zvol/tank/{base}", "count=1"]).exit_status != 0

    began = time.monotonic()
    second = site.rocks("start", "host", "vm", OTHER)
    print(f"the second machine, from its command to its start: {time.monotonic() - began:.1f} s")
    assert second.exit_status == 0 and "is stored" not in second.error_text
    site.wait_for_count("vmh2", OTHER, beyond=0)
    site.done("stop", "host", "vm", OTHER)
    site.done("stop", "host", "vm", OTHER, "terminate=yes")
    reported = site.count("vmh2", OTHER)
    judged = images.nas.run_any(
        ["python3", "/root/verifier.py", f"/dev/zvol/tank/{OTHER}-vol", f"at-least={reported}"], 60
    )
    assert judged.exit_status == 0 and int(json.loads(judged.text)["count"]) >= reported
    assert digest_on_nas(images, base) == expected

    (row,) = [row for one in site.ask("list", "image", "counting", "bases=yes") for row in one["image"]]
    assert (row["nas"], row["clones"], row["state"]) == (NAS, 2, "complete")
    remove = ("remove", "host", "storageimg", NAS, "tank")
    assert "2 disks are clones of it" in site.rocks(*remove, base).error_text
    for guest in (GUEST, OTHER):
        site.done(*remove, f"{guest}-vol", "now=yes")
    site.done(*remove, base)
    left = images.nas.shell("zfs list -H -o name -t volume,snapshot -r tank\n", 60)
    assert left.split() == []


def kill_while_it_receives(images: ImageSite, base: str) -> None:
    """End the daemon of the NAS by SIGKILL as soon as the volume of the base exists; systemd starts it again."""
    images.nas.shell(
        f"for try in $(seq 600); do zfs list tank/{base} >/dev/null 2>&1 && break; sleep 0.1; done\n"
        "systemctl kill --signal=SIGKILL rocks-imgstorage-nas.service\n",
        120,
    )
