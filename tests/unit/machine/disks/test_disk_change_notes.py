"""What a changed record leaves as it is: images on their old host, and their sizes."""

from dataclasses import replace

from rocks.machine.disks import image_lines
from tests.unit.machines import container, machine

IMAGES = ("file:/images/web.vda,vda,virtio", "phy:/dev/vg/web,vdb,virtio")


def test_images_stay_on_the_old_host() -> None:
    vm = machine(place=container("vmc-0-0"), disks=IMAGES)
    assert image_lines(vm, container("vmc-0-1"), None) == [
        "the images of web that exist stay on vmc-0-0 (/images/web.vda), and its next start makes new ones where "
        "vmc-0-1 has none; to take them along, if vmc-0-0 answers: rocks set host vm web physnode=vmc-0-0, "
        "then rocks move host vm web vmc-0-1"
    ]
    assert image_lines(vm, container("vmc-0-0"), None) == [], "its own host"
    assert (
        image_lines(machine(place=container("vmc-0-0"), disks=IMAGES[1:]), container("vmc-0-1"), None) == []
    )


def test_an_image_that_is_no_disk_any_more_stays_on_its_host() -> None:
    vm = machine(place=container("vmc-0-0"), disks=IMAGES)
    other = replace(vm.disks[0], name="new.vda")
    stays = "the image /images/web.vda, if it exists, stays on vmc-0-0, which lists it: rocks list host image vmc-0-0"
    for target in (None, container("vmc-0-1")):
        assert image_lines(vm, target, (other, vm.disks[1])) == [
            f"from its next start web has /images/new.vda as vda; {stays}"
        ]
        assert image_lines(vm, target, ()) == [f"from its next start web has no disk vda; {stays}"]


def test_an_image_keeps_its_size() -> None:
    vm = machine(place=container("vmc-0-0"), disks=IMAGES)
    changed = [replace(disk, size_gb=10) for disk in vm.disks]
    assert image_lines(vm, None, changed) == [
        "the image /images/web.vda of web, if it exists, keeps its size: only the record is 10 GB now, and was "
        "36 GB; to grow the image: rocks set host vm disk web vda size=GB; nothing shrinks it"
    ]
    assert image_lines(vm, None, vm.disks) == []
