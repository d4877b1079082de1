"""A snapshot of a machine that runs, with a real QEMU; stopped ones and the rest: system/machines/test_images.py."""

import os
from pathlib import Path

import pytest

from rocks.machine.host.files import ATTRIBUTE
from tests.system.vms.site import IMAGES, ThreeMachines

SECONDS = 120.0
DISKS = ("g.vda", "g.vdb")


def file_of(site: ThreeMachines, name: str) -> Path:
    """A file in the image directory of the host."""
    return site.machines["vmh1"].outside(IMAGES) / name


def write(site: ThreeMachines, text: bytes) -> None:
    for name in DISKS:
        with file_of(site, name).open("r+b") as image:
            image.write(text)


def contents(site: ThreeMachines, suffix: str = "") -> list[bytes]:
    found = []
    for number, name in enumerate(DISKS, start=1):
        with file_of(site, name + (f".snapshot.{suffix}.{number}-of-2" if suffix else "")).open(
            "rb"
        ) as image:
            found.append(image.read(6))
    return found


def make_machine(site: ThreeMachines) -> None:
    """A machine with two disks, which are there."""
    site.add_vm("g", "vmh1")
    site.done(f"add host vm disk g disk=file:{IMAGES}/g.vdb,vdb,virtio disksize=1")
    site.done("start host vm g")
    site.done("stop host vm g")


@pytest.mark.slow
def test_a_running_machine_is_copied_and_restored(site: ThreeMachines) -> None:
    """All disks at one moment; the copies are the machine's."""
    make_machine(site)
    write(site, b"first.")
    site.done("start host vm g")
    error = site.rocks("add host vm snapshot g monday")
    assert (
        error.exit_status == 0 and "were not frozen, so the copy is as after a power cut" in error.error_text
    )
    assert contents(site, "monday") == [b"first.", b"first."]
    copy = file_of(site, "g.vda.snapshot.monday.1-of-2")
    assert os.getxattr(copy, ATTRIBUTE) == os.getxattr(file_of(site, "g.vda"), ATTRIBUTE)
    assert (copy.stat().st_uid, copy.stat().st_mode & 0o777, copy.stat().st_size) == (0, 0o600, 1000**3)
    assert copy.stat().st_blocks * 512 < 10**8
    site.done("stop host vm g")
    write(site, b"second")
    site.done("set host vm disk g vda size=2")
    site.done("restore host vm snapshot g monday")
    assert contents(site) == [b"first.", b"first."] and file_of(site, "g.vda").stat().st_size == 1000**3
    site.done("start host vm g")
    assert site.running("g") == ["vmh1"]
