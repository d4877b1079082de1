"""An ISO of the image library in the drive of a machine that runs under a real libvirt, on a host reached by SSH."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.vms.site import IMAGES, ThreeMachines

SECTOR = 2048


def iso(mark: bytes) -> bytes:
    """What the library takes for an ISO."""
    return (mark.ljust(SECTOR, b"\0") + bytes(15 * SECTOR) + b"\1CD001").ljust(64 * SECTOR, b"\0")


@pytest.fixture
def library(site: ThreeMachines) -> Iterator[Path]:
    """The library of the site, with the ISO `medium`; its copies on hosts are removed afterwards."""
    folder, file = (
        site.machines["head"].outside("/var/opt/rocks/library"),
        site.machines["head"].outside("/var/opt/rocks/medium.iso"),
    )
    file.write_bytes(iso(b"first"))
    site.done("set attr image_library /var/opt/rocks/library")
    site.done("add image medium file=/var/opt/rocks/medium.iso")
    yield folder
    site.rocks("remove host one")
    site.done("remove attr image_library")
    shutil.rmtree(folder)
    file.unlink()
    for machine in site.machines.values():
        shutil.rmtree(machine.outside(IMAGES) / "library", ignore_errors=True)


def test_the_host_gets_the_iso_and_the_guest_has_it_until_it_is_ejected(
    site: ThreeMachines, library: Path
) -> None:
    site.add_vm("one", "vmh1")
    site.done("set host boot one action=os")
    site.done("set host vm cdrom one image=medium")
    started = site.rocks("start host vm one")
    assert (
        started.exit_status == 0
        and "the image medium, 0.1 MiB, is copied to vmh1" in started.text + started.error_text
    )
    (copy,) = (site.machines["vmh1"].outside(IMAGES) / "library").iterdir()
    xml = site.virsh("vmh1", "dumpxml", "one").text
    assert f"<source file='{IMAGES}/library/{copy.name}'" in xml
    assert xml.index("<boot dev='cdrom'/>") < xml.index("<boot dev='hd'/>")
    assert copy.read_bytes() == iso(b"first")

    # what changes now takes effect at the next start
    ejected = site.rocks("set host vm cdrom one eject")
    assert "one may be running on vmh1: its drive changes at its next start" in ejected.error_text
    assert "cdrom" in site.virsh("vmh1", "dumpxml", "one").text
    site.done("stop host vm one")
    site.done("start host vm one")
    assert "cdrom" not in site.virsh("vmh1", "dumpxml", "one").text
    site.done("stop host vm one")
