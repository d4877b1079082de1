"""A Debian without cloud-init, prepared for PRAGMA: its first start copies vc-out.xml from the second disk to /root."""

import subprocess  # noqa: TID251 - QEMU runs beside the test
import time
from pathlib import Path

import pytest

from lab.demos.image_demo import find_image
from pragma._shared.ext_files import debugfs, names_in, root_of
from pragma._shared.preparation import prepare_image
from tests.guests.test_demo_cluster import IMAGES
from tests.patience import patience

pytestmark = pytest.mark.guests


def run(*arguments: str | Path) -> None:
    subprocess.run(arguments, check=True, capture_output=True)


def vc_out_of(disk: Path, copy: Path) -> str:
    """/root/vc-out.xml of a disk whose guest runs: of a copy, after its journal was replayed."""
    run("cp", "--sparse=always", disk, copy)
    place = root_of(copy)
    assert place is not None
    subprocess.run(["/usr/sbin/e2fsck", "-p", place], check=False, capture_output=True)
    return debugfs(place, "-R", "cat /root/vc-out.xml") if "vc-out.xml" in names_in(place, "/root") else ""


def test_vc_out_is_in_root_after_the_first_start(tmp_path: Path) -> None:
    disk, seed = tmp_path / "disk.img", tmp_path / "seed"
    run("cp", "--sparse=always", find_image(IMAGES), disk)
    place = root_of(disk)
    assert place is not None
    debugfs(place, "-w", "-R", "rm /usr/bin/cloud-init", max_bytes=disk.stat().st_size)
    assert prepare_image(disk)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/vc-out.xml").write_text("<vc>of this machine</vc>")
    run("xorrisofs", "-quiet", "-volid", "cidata", "-joliet", "-rock", "-o", seed, tmp_path / "tree")
    drives = [f"file={disk},if=virtio,format=raw", f"file={seed},if=virtio,format=raw,readonly=on"]
    line = ["qemu-system-x86_64", "-accel", "tcg", "-m", "512", "-display", "none", "-nic", "none"]
    guest = subprocess.Popen([*line, *(word for drive in drives for word in ("-drive", drive))])
    try:
        end = time.monotonic() + patience(600)
        while not (found := vc_out_of(disk, tmp_path / "copy.img")) and time.monotonic() < end:
            time.sleep(5)
    finally:
        guest.kill()
        guest.wait()
    assert found == "<vc>of this machine</vc>"
