"""The removal of a volume."""

import pytest

from rocks.core.errors import StateError
from rocks.core.units import BYTES_PER_GIB
from rocks.storage.wire import requests as wire
from tests.unit.storage.daemons.driven_site import DrivenSite

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_f5_a_longer_name_is_another_volume(site: DrivenSite) -> None:
    """One image is destroyed; another with a longer name, and a clone, are not."""
    for name in ("f5-vol", "f5-vol2"):
        site.ask(wire.AddZvol("tank", name, BYTES_PER_GIB))
    site.ask(wire.AddZvol("tank", "f5-clone", origin="f5-vol2"))
    site.ask(wire.DelZvol("tank", "f5-vol"))
    site.wait_for(lambda: site.nas.pools.read_volume("tank/f5-vol") is None, "destroyed")
    with pytest.raises(StateError, match=r"others need it: .*f5-clone"):
        site.ask(wire.DelZvol("tank", "f5-vol2"))
    assert site.nas.pools.read_volume("tank/f5-vol2") is not None
    assert site.nas.pools.read_volume("tank/f5-clone") is not None


def test_f19_a_volume_can_be_destroyed_after_its_use(site: DrivenSite) -> None:
    """Nothing of the export stays, neither target nor backstore."""
    site.map_local("f19-vol")
    assert site.nas.targets.read_exports() == () and site.nas.targets.read_unused_backstores() == ()
    site.unmap("f19-vol")
    site.ask(wire.DelZvol("tank", "f19-vol"))
    site.wait_for(lambda: site.nas.pools.read_volume("tank/f19-vol") is None, "destroyed")
