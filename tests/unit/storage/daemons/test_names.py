"""One name is one image of a NAS, in one pool."""

import pytest

from rocks.core.errors import StateError
from rocks.core.units import BYTES_PER_GIB
from rocks.storage.wire import requests as wire
from rocks.storage.zfs.fake import Pool
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.nodes import NAS, OTHER_HOST, OTHER_NAS

ZVOL = "golden-vol"

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.mark.parametrize("is_mapped", [False, True])
def test_a_name_of_another_pool_is_refused_to_a_new_image(site: DrivenSite, is_mapped: bool) -> None:
    """The image keeps its volume: it can be mapped and removed, and no volume without a record is left."""
    pools = site.nas.pools
    pools.fake.pools["data"] = Pool("data", 100 * BYTES_PER_GIB)
    site.ask(wire.AddZvol("tank", ZVOL, BYTES_PER_GIB))
    if is_mapped:
        site.map_local(ZVOL)
        site.unmap(ZVOL)
    with pytest.raises(StateError, match=f"{ZVOL} is in the pool tank of nas-0-0, not in data"):
        site.ask(wire.AddZvol("data", ZVOL, BYTES_PER_GIB, importing=True))
    assert pools.read_volume(f"data/{ZVOL}") is None
    site.map_local(ZVOL)
    site.unmap(ZVOL)
    site.ask(wire.DelZvol("tank", ZVOL))
    site.wait_for(lambda: pools.read_volume(f"tank/{ZVOL}") is None, "destroyed")
    site.ask(wire.AddZvol("data", ZVOL, BYTES_PER_GIB))
    assert site.image(ZVOL).pool == "data"


@pytest.mark.parametrize("other", ["Golden-vol", "golden-5fvol"])
def test_no_two_images_of_a_nas_have_one_iscsi_target(site: DrivenSite, other: str) -> None:
    """The end of a map of the one would remove the export of the other, whose guest would hang."""
    first = other.replace("-5f", "_").lower()
    site.map(first, sync=False)
    (export,) = site.nas.targets.read_exports()
    text = f"ZVol {other} would have the same iSCSI target as ZVol {first} on {NAS}"
    for make in (
        lambda: site.map(other, OTHER_HOST, sync=False),
        lambda: site.ask(wire.AddZvol("tank", other, BYTES_PER_GIB)),
        lambda: site.ask(wire.AcceptZvol("tank", other, OTHER_NAS, "7", 0)),
    ):
        with pytest.raises(StateError, match=text):
            make()
    (refused,) = site.ask(wire.CloneZvols("tank", (wire.NewClone(other, f"{first}@x", 0),)))["refused"]
    assert text in refused["reason"] and site.image(other) is None
    assert site.nas.targets.read_exports() == (export,)
    site.unmap(first)


def test_images_that_share_an_iscsi_target_already_are_used_as_before(site: DrivenSite) -> None:
    """An earlier release has made them: one at a time."""
    for zvol in (ZVOL, "Golden-vol"):
        site.nas.pools.ensure_volume(f"tank/{zvol}", BYTES_PER_GIB, 16384)
        site.map_local(zvol)
        site.unmap(zvol)
        image = site.image(zvol)
        assert image is not None and image.state == "unmapped"
