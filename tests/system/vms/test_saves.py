"""Saved machines: they continue where they were, on their host alone, and with unchanged disks only."""

from __future__ import annotations

import shutil

from rocks.storage.mapped_volumes import MappedImage, write_mapped
from tests.system.vms.site import IMAGES, ThreeMachines

SECONDS = 180.0


def status(site: ThreeMachines) -> str:
    """What the listing has for the machine."""
    return site.done("list host vm g status=yes output-header=no output-col=status").split()[-1]


def test_a_saved_machine_continues_on_its_host_only(site: ThreeMachines) -> None:
    site.add_vm("g", "vmh1")
    assert "does not run, so there is nothing to save" in site.refused("save host vm g")
    assert "g is not saved, by its lease it is off" in site.refused("restore host vm g")
    site.done("start host vm g")
    token, _, _ = site.lease("g")
    assert "vmh1: would save the memory of g" in site.rocks("save host vm g dry-run=yes").text
    site.done("save host vm g")
    site.done("save host vm g")
    assert status(site) == "saved" and site.running("g") == []
    assert site.lease("g") == (token, "saved", "vmh1")
    for refused in ("stop host vm g", "stop host vm g action=shutdown", "drain host vmh1 to=vmh2"):
        assert "saved=remove" in site.refused(refused)
    assert "is saved on vmh1" in site.refused("move host vm g vmh2")
    site.done("set host vm g physnode=vmh2")
    assert "g is saved on vmh1, and its memory is there alone" in site.refused("start host vm g")
    site.done("set host vm g physnode=vmh1")
    assert site.lease("g") == (token, "saved", "vmh1")
    restarts = [f"stop host vm g action={action}" for action in ("reset", "reboot")]
    disk = f"add host vm disk g disk=file:{IMAGES}/b.vda,vdb,virtio"
    for refused in ("pause host vm g", "resume host vm g", disk, *restarts):
        assert "rocks restore host vm g continues it" in site.refused(refused)
    copied = site.rocks("add host vm snapshot g monday")
    assert copied.exit_status == 0 and "is in its saved memory" in copied.error_text
    listed = site.done("list host vm snapshot g output-header=no output-col=consistent")
    assert listed.split()[-1] == "no"
    assert "rocks stop host vm g saved=remove" in site.refused("restore host vm snapshot g monday")
    site.done("remove host vm snapshot g monday")
    site.done("restore host vm g")
    assert site.running("g") == ["vmh1"] and site.lease("g") == (token, "running", "vmh1")
    assert status(site) == "active"
    site.done("save host vm g")
    site.done("start host vm g")
    assert site.lease("g") == (token, "running", "vmh1")


def test_an_image_of_a_nas_is_known_by_its_grant(site: ThreeMachines) -> None:
    """libvirt and agent are real; the image daemon's record is written here, of a file in the place of a device."""
    site.add_vm("g", "vmh1")
    image_storage = site.machines["vmh1"].outside("/var/lib/rocks/imgstorage")
    disk = site.machines["vmh1"].outside(IMAGES) / "g.vda"
    (image_storage / "released").mkdir(parents=True)
    note = image_storage / "released/g"

    def map_image(epoch: int) -> None:
        write_mapped(image_storage / "mapped", "g-vol", MappedImage(f"{IMAGES}/g.vda", "id", epoch))

    map_image(3)
    site.done("start host vm g")
    site.done("save host vm g")
    assert note.read_text() == str(site.lease("g")[0]), "the daemon looks at it until the memory is gone"
    with disk.open("r+b") as merged:
        merged.write(b"written back, or merged")
    map_image(4)
    assert "g.vda of g is an image of a NAS that has left this host" in site.refused("restore host vm g")
    assert status(site) == "saved"
    map_image(3)
    disk.rename(disk.with_suffix(".away"))
    assert "g.vda is not there yet" in site.refused("restore host vm g")
    disk.with_suffix(".away").rename(disk)
    copied = disk.with_suffix(".copy")  # a boot of the host gives a device another number
    shutil.copy2(disk, copied)
    copied.rename(disk)
    site.done("restore host vm g")
    assert site.running("g") == ["vmh1"] and site.lease("g")[1] == "running"
    for later in ("pause", "resume"):  # which compares the disks with those that the machine began with
        site.done(f"{later} host vm g")
    assert status(site) == "active"
