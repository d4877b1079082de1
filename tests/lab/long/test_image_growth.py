"""A disk on a NAS that grows between two runs of its machine: the volume, the host's copy, the guest."""

from tests.lab.image_site import GUEST, VOLUME, ImageSite

SUBJECTS = ("src/rocks/storage",)


def test_an_image_that_has_grown_is_mapped_with_its_size(images: ImageSite) -> None:
    """The host's copy gets the difference, and with it the size; the guest counts on, on a disk of 1 GiB."""
    site, host = images.site, images.site.lab["vmh1"]
    site.done("start", "host", "vm", GUEST)
    site.wait_for_count("vmh1", GUEST, beyond=0)
    images.wait_until_local("vmh1")
    site.done("stop", "host", "vm", GUEST)
    images.wait_for_state("unmapped")
    counted = images.count_on_nas(site.count("vmh1", GUEST))

    site.done("set", "host", "vm", "disk", GUEST, "vda", "size=1")
    assert images.nas.shell(f"zfs get -Hp -o value volsize tank/{VOLUME}", 60).strip() == str(1024**3)
    site.done("start", "host", "vm", GUEST)
    site.wait_for_count("vmh1", GUEST, beyond=counted)
    capacity = host.shell(f"virsh domblkinfo {GUEST} vda | awk '/Capacity/ {{ print $2 }}'", 60).strip()
    assert capacity == str(1024**3), "of the overlay"
    images.wait_until_local("vmh1")
    assert host.shell(f"blockdev --getsize64 /dev/mapper/{VOLUME}-snap", 60).strip() == str(1024**3)
    assert "quarantine" not in host.shell("zfs list -H -o name -t volume", 60)
    site.done("stop", "host", "vm", GUEST)
    images.wait_for_state("unmapped")
    images.count_on_nas(site.count("vmh1", GUEST))
    assert images.leftovers("vmh1") == []
