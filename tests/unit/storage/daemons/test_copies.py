"""Copies from the NAS to a host: throttled, cut, of an image with clones and snapshots of others."""

import os

import pytest

from rocks.core.values import BYTES_PER_GIB
from rocks.storage.stream.pace import Bucket
from rocks.storage.wire import requests as wire
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.nodes import HOST, OTHER_HOST

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.mark.parametrize("speed", ["200000", "200K"])
def test_f10_f11_a_throttled_copy_works(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch, speed: str
) -> None:
    """A plain number too, of one image; and it pauses for as long as its bytes take."""
    zvol = f"f11-{speed.lower()}-vol"
    site.ask(wire.AddZvol("tank", zvol, BYTES_PER_GIB))
    site.nas.pools.write(f"tank/{zvol}", os.urandom(400_000), 0)
    # a NAS knows attributes of an image from its first map on
    site.map(zvol, OTHER_HOST, sync=False)
    site.unmap(zvol)
    site.ask(wire.SetZvolAttrs(zvol, (("uploadspeed", speed),)))
    pauses: list[float] = []
    monkeypatch.setattr(Bucket, "pause", lambda bucket, seconds: pauses.append(seconds))
    host = site.map_local(zvol)
    assert max(pauses) > 1.5
    assert host.pools.content(f"tank/{zvol}") == site.nas.pools.content(f"tank/{zvol}")
    site.unmap(zvol)


def test_f12_a_golden_image_is_copied_and_its_snapshots_stay(site: DrivenSite) -> None:
    """It has a clone and an operator's snapshot: neither prevents the copy, and neither is removed."""
    site.ask(wire.AddZvol("tank", "f12-vol", BYTES_PER_GIB))
    site.nas.pools.write("tank/f12-vol", b"golden", 0)
    site.ask(wire.AddZvol("tank", "f12-clone", origin="f12-vol"))
    fact = site.nas.pools.read_volume("tank/f12-vol")
    site.nas.pools.ensure_snapshot("tank/f12-vol", fact.guid, "before-the-upgrade", {})
    theirs = {one.name for one in site.nas.pools.read_history("tank/f12-vol").snapshots}
    host = site.map_local("f12-vol")
    for number in range(6):
        host.pools.write("tank/f12-vol", b"%d" % number, 8192)
        site.ask(wire.PullZvol("f12-vol"))
    site.unmap("f12-vol")
    before = [one.name for one in site.nas.pools.read_history("tank/f12-vol").snapshots]
    site.nas.service._snapshot_expiry.look()
    after = [one.name for one in site.nas.pools.read_history("tank/f12-vol").snapshots]
    assert len(theirs) == 2 and theirs <= set(after)
    assert len(before) >= 9 and len(after) <= 6 and after[-3:] == before[-3:], "the last ones of ours stay"
    on_host = {one.name for one in host.pools.read_history("tank/f12-vol").snapshots} - theirs
    assert len(on_host) == 1, "of ours the host has its base alone"
    assert site.nas.pools.read("tank/f12-clone", 6, 0) == b"golden"


def test_f18_a_copy_that_is_cut_goes_on_where_it_was(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks in the middle of a copy; the next one resumes with the token of what has arrived."""
    site.ask(wire.AddZvol("tank", "f18-vol", BYTES_PER_GIB))
    site.nas.pools.write("tank/f18-vol", os.urandom(6_000_000), 0)
    tokens: list[bool] = []
    send = site.nas.pools.start_send
    monkeypatch.setattr(
        site.nas.pools,
        "start_send",
        lambda spec: (tokens.append(spec.resume_token is not None), send(spec))[1],
    )
    site.nas.pools.cut_next_send(3_000_000)
    site.map_local("f18-vol")
    assert tokens == [False, True]
    assert site.hosts[HOST].pools.content("tank/f18-vol") == site.nas.pools.content("tank/f18-vol")
    site.unmap("f18-vol")
