"""Saved machines: they continue where they were, on their host alone, and with unchanged disks only."""

import shutil

from rocks.fleet.wire.requests import console_log
from rocks.storage.mapped_volumes import MappedImage, write_mapped
from tests.system.vms.site import IMAGES, ThreeMachines

SECONDS = 180.0


def status(site: ThreeMachines) -> str:
    return site.done("list host vm g status=yes output-header=no output-col=status").split()[-1]


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
    ((uuid,),) = site.sql("SELECT v.UUID FROM vm_nodes v JOIN nodes n ON n.ID = v.Node WHERE n.Name = 'g'")
    log = site.machines["vmh1"].outside(console_log(uuid))
    log.write_text("written before the save\n")
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
    assert site.done("report host vm console g").startswith("written before the save\n")
    assert site.running("g") == ["vmh1"] and site.lease("g")[1] == "running"
    for later in ("pause", "resume"):  # which compares the disks with those that the machine began with
        site.done(f"{later} host vm g")
    assert status(site) == "active"
