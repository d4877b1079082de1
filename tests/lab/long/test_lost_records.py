"""A NAS that loses its records while a guest runs, on real ZFS and LIO: the guest counts on, and nothing is lost."""

from __future__ import annotations

import pytest

from tests.lab.image_site import GUEST, VOLUME, ImageSite
from tests.lab.lab_site import LabSite

_LOSE = """\
systemctl stop rocks-imgstorage-nas
rm -f /var/lib/rocks/imgstorage/nas.db*
systemctl start rocks-imgstorage-nas
"""


@pytest.fixture
def images(site: LabSite) -> ImageSite:
    """Daemons on all machines, nothing mapped."""
    made = ImageSite(site)
    made.set_up()
    return made


def test_records_are_made_again_from_the_volumes(images: ImageSite) -> None:
    """While the guest reads from the NAS, and when it is local; then its changes are written back."""
    site = images.site
    images.forget_copy("vmh1")
    site.done("start", "host", "vm", GUEST)
    images.nas.shell(_LOSE, 120)
    counted = site.wait_for_count("vmh1", GUEST, beyond=0)
    images.wait_until_local("vmh1")
    images.nas.shell(_LOSE, 120)
    images.wait_for_state("mapped")
    properties = images.nas.shell(f"zfs get -H -o value imgstore:owner,imgstore:id tank/{VOLUME}", 60).split()
    assert properties[0] == "vmh1" and properties[1] not in ("-", "none")
    site.wait_for_count("vmh1", GUEST, beyond=counted + 20)
    site.done("stop", "host", "vm", GUEST)
    images.wait_for_state("unmapped")
    images.count_on_nas(site.count("vmh1", GUEST))
    assert images.leftovers("vmh1") == []
