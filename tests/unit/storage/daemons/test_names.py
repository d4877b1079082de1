"""One name is one image of a NAS, in one pool."""

import pytest

from rocks.core.errors import StateError
from rocks.core.units import BYTES_PER_GIB
from rocks.storage.wire import requests as wire
from rocks.storage.zfs.fake.contents import Pool
from tests.unit.storage.daemons.driven_site import DrivenSite

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
