"""A host whose image was given up and mapped elsewhere."""

import pytest

from rocks.core.errors import StateError
from rocks.storage.host.transfers import RETURN
from rocks.storage.stream.lines import Opening, receive_line, write_opening
from rocks.storage.wire import requests as wire
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.nodes import HOST, NAS, OTHER_HOST

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_f7_a_stale_host_may_send_nothing(site: DrivenSite) -> None:
    """The image was given up and mapped elsewhere; its old host, which is back, is rejected, and its copy stays."""
    host = site.map_local("f7-vol")
    host.pools.write("tank/f7-vol", b"never seen", 4096)
    image = site.image("f7-vol")
    site.given_up.add("f7-vol")
    site.ask(wire.AbandonZvol("f7-vol", "its host has burned", force=True))
    site.map_local("f7-vol", OTHER_HOST)
    opening = write_opening(Opening(RETURN, image.image_id, image.epoch, "1"))
    with (
        pytest.raises(StateError, match="stale_epoch"),
        site.connect(HOST, "", 0, NAS, opening) as connection,
    ):
        receive_line(connection.reader)
    assert host.pools.read("tank/f7-vol", 10, 4096) == b"never seen"
    site.unmap("f7-vol")
    # its old device is removed when the image is mapped to it again; what it wrote is quarantined
    site.map_local("f7-vol", HOST)
    quarantined = [fact.name for fact in host.pools.list_volumes("tank") if "f7-vol-" in fact.name]
    assert [host.pools.read(name, 10, 4096) for name in quarantined] == [b"never seen"]
    site.unmap("f7-vol")
