"""Pools without free space, with both daemons: what waits, what is reported, and what is remembered meanwhile."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rocks.agent.hook import note_end
from rocks.errors import StateError
from rocks.imgstorage.client.listing import map_cells
from rocks.imgstorage.client.questions import images_of
from rocks.imgstorage.life.events import HostLost, RetryDue
from rocks.imgstorage.life.image import Image
from rocks.imgstorage.life.schedule import MOST_TRIES
from rocks.wire import imgstorage as wire
from tests.system.imgstorage.conftest import RealBroker
from tests.system.imgstorage.image_site import HOSTS, NAS, ImageSite, running_site

ZVOL = "vm-vc1-0-vol"
HOST, OTHER = HOSTS
MIB = 2**20


@pytest.fixture
def site(tmp_path: Path, real_broker: RealBroker) -> Iterator[ImageSite]:
    """All daemons running; the image is local, and its guest has written 4 MiB."""
    with running_site(tmp_path, real_broker) as made:
        made.map(ZVOL)
        made.wait_for_state(ZVOL, "local")
        yield made


def image(site: ImageSite) -> Image:
    """The NAS's record."""
    assert site.nas.service is not None
    found = site.nas.service._engine.image_of(ZVOL)
    assert found is not None
    return found


def try_often(site: ImageSite) -> None:
    """More tries than an image has before it is blocked, without the pauses between them."""
    for tries in range(1, MOST_TRIES + 3):
        site.wait_for(lambda tries=tries: image(site).tries >= tries, f"{tries} tries")  # type: ignore[misc]
        retry(site)


def retry(site: ImageSite) -> bool:
    """The pause is over; False."""
    service, now = site.nas.service, image(site)
    assert service is not None
    if now.retry_at is not None and now.work is not None:
        service._engine.take(now.image_id, RetryDue(), now.retry_at)
    return False


def note_of(site: ImageSite) -> str:
    """The last column of `list host storagemap`."""
    row = images_of(NAS).read({"body": site.rows()})[0]
    return str(map_cells(row, 0)[-1])


def test_full_pool_of_the_nas_is_waited_for(site: ImageSite) -> None:
    """A final return is tried without end, reports the space that it needs, and is complete when there is some."""
    written = os.urandom(4 * MIB)
    site.hosts[HOST].pools.write(f"tank/{ZVOL}", written, MIB)
    site.nas.pools.leave_free("tank", MIB)
    unmapping = threading.Thread(target=site.ask, args=(wire.UnmapZvol(ZVOL), NAS, 180))
    unmapping.start()
    try_often(site)
    now = image(site)
    assert now.state == "returning" and now.faults == 0
    assert "waits for space: the pool tank of nas-0-0 has 1.0 MB free, and 4." in now.reason
    assert f"MB are needed for the changes of {ZVOL}" in note_of(site)
    site.nas.pools.leave_free("tank", 64 * MIB)
    site.wait_for(lambda: retry(site) or image(site).state == "unmapped", "unmapped", 60)
    unmapping.join(60)
    assert site.row(ZVOL)["state"] == "unmapped" and site.row(ZVOL)["reason"] == ""
    assert site.nas.pools.read(f"tank/{ZVOL}", 4 * MIB, MIB) == written
    assert site.leftovers(HOST) == []


def test_pull_without_space_leaves_the_image_local(site: ImageSite) -> None:
    """The guest goes on; an unmap that comes meanwhile is done when there is space."""
    site.hosts[HOST].pools.write(f"tank/{ZVOL}", os.urandom(2 * MIB), MIB)
    site.nas.pools.leave_free("tank", MIB)
    pulling = threading.Thread(target=site.ask, args=(wire.PullZvol(ZVOL),))
    pulling.start()
    site.wait_for(lambda: "waits for space" in str(site.row(ZVOL)["reason"]), "reason")
    assert site.row(ZVOL)["state"] in ("local", "pulling")
    unmapping = threading.Thread(target=site.unmap, args=(ZVOL,))
    unmapping.start()
    site.wait_for(lambda: bool(image(site).unmap_ids), "unmap recorded")
    site.nas.pools.leave_free("tank", 64 * MIB)
    site.wait_for(lambda: retry(site) or image(site).state == "unmapped", "unmapped", 60)
    unmapping.join(120)
    pulling.join(120)


def block(site: ImageSite) -> None:
    """As an operator's report that the host is lost."""
    assert site.nas.service is not None
    site.nas.service._engine.take(image(site).image_id, HostLost(HOST, "its power supply burns"))
    assert site.row(ZVOL)["state"] == "blocked"


def test_end_of_a_machine_is_remembered_while_its_image_is_blocked(site: ImageSite) -> None:
    """When the image goes on, nobody runs it: it is written back, also after a restart of the daemon."""
    block(site)
    site.hosts[HOST].pools.write(f"tank/{ZVOL}", b"the last words", MIB)
    note_end(["vm-vc1-0", "release", "end", "-"], "", site.hosts[HOST].store.parent.parent)
    site.wait_for(lambda: bool(image(site).unmap_ids), "remembered")
    assert site.nas.service is not None
    site.nas.service.close()
    site.nas.start()
    assert site.row(ZVOL)["state"] == "blocked"
    site.ask(wire.RetryZvol(ZVOL))
    site.wait_for_state(ZVOL, "unmapped")
    assert site.nas.pools.read(f"tank/{ZVOL}", 14, MIB) == b"the last words"


def test_unmap_of_a_blocked_image_is_answered_and_remembered(site: ImageSite) -> None:
    """The command does not wait for an operator; a cancel forgets it."""
    block(site)
    with pytest.raises(StateError, match="its power supply burns; the unmapping is remembered"):
        site.unmap(ZVOL)
    site.ask(wire.CancelZvol(ZVOL))
    site.ask(wire.RetryZvol(ZVOL))
    site.wait_for_state(ZVOL, "local")
    block(site)
    with pytest.raises(StateError, match="remembered"):
        site.unmap(ZVOL)
    site.ask(wire.RetryZvol(ZVOL))
    site.wait_for_state(ZVOL, "unmapped")


def test_removed_image_is_not_given_to_a_new_one_of_its_name(site: ImageSite) -> None:
    """Also by a NAS that has lost its records: it waits for an operator, however long the grace period was."""
    site.unmap(ZVOL)
    site.ask(wire.DelZvol("tank", ZVOL, grace_seconds=3600))
    guid = site.nas.pools.read_volume(f"tank/{ZVOL}").guid  # type: ignore[union-attr] # it is there
    for _ in range(2):
        with pytest.raises(StateError, match="was removed and is in its grace period: restore it by rocks"):
            site.map(ZVOL)
        site.lose_records()
    with pytest.raises(StateError, match="was removed"):
        site.map(ZVOL)
    assert "removed before the NAS lost its records" in note_of(site)
    site.ask(wire.UndeleteZvol(ZVOL))
    site.map(ZVOL)
    assert site.nas.pools.read_volume(f"tank/{ZVOL}").guid == guid  # type: ignore[union-attr]
    site.unmap(ZVOL)
    site.ask(wire.DelZvol("tank", ZVOL, grace_seconds=3600))
    site.ask(wire.DelZvol("tank", ZVOL))
    site.wait_for(lambda: site.nas.pools.read_volume(f"tank/{ZVOL}") is None, "destroyed")


def test_removed_image_is_destroyed_when_its_grace_has_ended(site: ImageSite) -> None:
    """Also when the daemon did not run at that moment."""
    site.unmap(ZVOL)
    site.ask(wire.DelZvol("tank", ZVOL, grace_seconds=2))
    assert site.row(ZVOL)["state"] == "deleting"
    assert site.nas.service is not None
    site.nas.service.close()
    site.nas.start()
    site.wait_for(lambda: site.nas.pools.read_volume(f"tank/{ZVOL}") is None, "destroyed")
    assert site.rows() == []


def test_silent_host_is_listed_and_has_its_images(site: ImageSite) -> None:
    """Nothing else is done: it may still run its guests."""
    nas, host = site.nas.service, site.hosts[HOST].service
    assert nas is not None and host is not None
    host._heartbeats.beat()
    site.wait_for(lambda: HOST in nas._store.beating_hosts(), "a heartbeat")
    nas._presence._now = lambda: time.monotonic() + 3600
    assert f"{HOST} has been silent for 0:59:" in note_of(site) or "1:00:0" in note_of(site)
    assert site.row(ZVOL)["state"] == "local"
    nas._presence._now = time.monotonic
    assert note_of(site) == "None"
