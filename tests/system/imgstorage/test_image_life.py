"""The states of an image with both daemons: mapped, copied, local, pulled, written back; daemons that end meanwhile."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rocks.storage.nas import exports
from rocks.storage.wire import requests as wire
from tests.system.imgstorage.image_site import HOSTS, ImageSite, running_site
from tests.system.imgstorage.real_broker import RealBroker

ZVOL = "vm-vc1-0-vol"
HOST = HOSTS[0]


@pytest.fixture
def site(tmp_path: Path, real_broker: RealBroker) -> Iterator[ImageSite]:
    with running_site(tmp_path, real_broker) as made:
        yield made


def newest(pools: object, volume: str) -> str:
    found = pools.read_history(volume).newest  # type: ignore[attr-defined]
    return str(found.guid)


def test_image_becomes_local_and_is_written_back(site: ImageSite) -> None:
    """A device at once, then the copy; at unmap the NAS has what was written, and nothing is left."""
    nas, host = site.nas, site.hosts[HOST]
    nas.pools.ensure_volume(f"tank/{ZVOL}", 2**30, 16384)
    nas.pools.write(f"tank/{ZVOL}", os.urandom(300_000), 1_000_000)
    assert site.map(ZVOL) == f"/dev/mapper/{ZVOL}-snap"
    site.wait_for_state(ZVOL, "local")
    assert host.pools.content(f"tank/{ZVOL}") == nas.pools.content(f"tank/{ZVOL}")
    assert nas.targets.read_exports() == ()
    assert host.sessions.read_sessions() == ()
    host.pools.write(f"tank/{ZVOL}", b"what the guest wrote", 5_000_000)
    site.ask(wire.PullZvol(ZVOL))
    assert nas.pools.read(f"tank/{ZVOL}", 20, 5_000_000) == b"what the guest wrote"
    host.pools.write(f"tank/{ZVOL}", b"and at last", 9_000_000)
    site.unmap(ZVOL)
    assert nas.pools.read(f"tank/{ZVOL}", 11, 9_000_000) == b"and at last"
    assert site.row(ZVOL)["word"] == "unmapped"
    assert newest(nas.pools, f"tank/{ZVOL}") == newest(host.pools, f"tank/{ZVOL}")
    assert site.leftovers(HOST) == []


def test_exports_of_a_pool_that_comes_late_are_made_when_it_has_come(
    site: ImageSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A NAS that was switched on again, whose pool is imported by hand: hosts wait for their disks that long."""
    monkeypatch.setattr(exports, "AGAIN_SECONDS", 0.2)
    site.map(ZVOL, sync=False)
    site.nas.service.close()
    for export in site.nas.targets.read_exports():
        site.nas.targets.ensure_export_gone(export.target)
    site.nas.pools.export_pool("tank")
    site.nas.start()
    assert site.nas.targets.read_exports() == ()
    site.nas.pools.import_pool("tank")
    site.wait_for(lambda: len(site.nas.targets.read_exports()) == 1, "exported again")
    site.unmap(ZVOL)
    assert site.leftovers(HOST) == []


def test_transfer_of_an_image_that_is_given_up_ends_at_once(site: ImageSite) -> None:
    """It waits ten seconds for each part, for its rate; from now on the host is rejected and sends nothing more."""
    site.nas.pools.ensure_volume(f"tank/{ZVOL}", 2**30, 16384)
    site.nas.pools.write(f"tank/{ZVOL}", os.urandom(4_000_000), 0)
    site.ask(wire.SetAttrs((("uploadspeed", "100K"),)))
    site.map(ZVOL)
    site.wait_for_state(ZVOL, "seeding")
    transfers = site.nas.service._transfers
    site.wait_for(lambda: bool(transfers._open), "a transfer")
    site.ask(wire.AbandonZvol(ZVOL, "the host has burned"))
    site.wait_for(lambda: not transfers._open, "the transfer's end", 5)
    assert site.row(ZVOL)["state"] == "unmapped"


@pytest.mark.slow
def test_unmap_without_changes_does_not_wait_for_the_copy(site: ImageSite) -> None:
    """The copy would take most of a minute; the unmap cuts it; what had come is not in the way of the next."""
    nas, host = site.nas, site.hosts[HOST]
    nas.pools.ensure_volume(f"tank/{ZVOL}", 2**30, 16384)
    nas.pools.write(f"tank/{ZVOL}", os.urandom(4_000_000), 0)
    site.ask(wire.SetAttrs((("uploadspeed", "100K"),)))
    site.map(ZVOL)
    site.wait_for_state(ZVOL, "seeding")
    transfers = nas.service._transfers
    site.wait_for(lambda: bool(transfers._open), "a transfer")
    site.ask(wire.UnmapZvol(ZVOL), deadline_seconds=10)
    assert site.row(ZVOL)["word"] == "unmapped"
    site.wait_for(lambda: not transfers._open, "the end of the transfer")
    assert site.leftovers(HOST) == []
    site.ask(wire.SetAttrs((("uploadspeed", None),)))
    site.map_local(ZVOL)
    assert host.pools.content(f"tank/{ZVOL}") == nas.pools.content(f"tank/{ZVOL}")
