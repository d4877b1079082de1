"""Pools without free space, with both daemons: what waits, what is reported, and what is remembered."""

import os
import time
from typing import Any

import pytest

from rocks.core.errors import StateError
from rocks.machine.host.hook import note_end
from rocks.storage.client.asking import images_of
from rocks.storage.client.listing import map_cells
from rocks.storage.host import copies as host_transfers
from rocks.storage.image.events import Contradicted
from rocks.storage.image.image import Image
from rocks.storage.image.transfers import MAX_TRIES
from rocks.storage.wire import requests as wire
from rocks.storage.zfs.facts import ReceiveSpec
from rocks.storage.zfs.tool import Transfer
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.nodes import HOSTS, NAS, HostNode

ZVOL = "vm-vc1-0-vol"
HOST, OTHER = HOSTS
NEW_ZVOL = "vm-vc1-1-vol"
MIB, GIB = 2**20, 2**30


@pytest.fixture
def site(site: DrivenSite) -> DrivenSite:
    site.map_local(ZVOL)
    return site


def image(site: DrivenSite) -> Image:
    found = site.image(ZVOL)
    assert isinstance(found, Image)
    return found


def exceed_tries(site: DrivenSite, zvol: str = ZVOL) -> None:
    """Wait for more tries than usually block an image."""
    site.wait_for(lambda: site.image(zvol).tries > MAX_TRIES + 2, "tries")


def note_of(site: DrivenSite) -> str:
    """The last column of `list host storagemap`."""
    row = images_of(NAS).read({"body": site.rows()})[0]
    return str(map_cells(row, 0)[-1])


def test_full_pool_of_the_nas_is_waited_for(site: DrivenSite) -> None:
    """A final return is tried without end, reports the space that it needs, and is complete when there is some."""
    written = os.urandom(4 * MIB)
    site.hosts[HOST].pools.write(f"tank/{ZVOL}", written, MIB)
    site.nas.pools.leave_free("tank", MIB)
    unmap = site.send(wire.UnmapZvol(ZVOL))
    exceed_tries(site)
    now = image(site)
    assert now.state == "returning" and now.faults == 0
    assert "waits for space: the pool tank of nas-0-0 has 1.0 MiB free, and 4." in now.reason
    assert f"MiB are needed for the changes of {ZVOL}" in note_of(site)
    site.nas.pools.leave_free("tank", 64 * MIB)
    site.answer(unmap)
    assert site.row(ZVOL)["state"] == "unmapped" and site.row(ZVOL)["reason"] == ""
    assert site.nas.pools.read(f"tank/{ZVOL}", 4 * MIB, MIB) == written
    assert site.leftovers() == []


def test_pull_without_space_leaves_the_image_local(site: DrivenSite) -> None:
    """The guest continues; an unmap requested meanwhile completes when there is space."""
    site.hosts[HOST].pools.write(f"tank/{ZVOL}", os.urandom(2 * MIB), MIB)
    site.nas.pools.leave_free("tank", MIB)
    pull = site.send(wire.PullZvol(ZVOL))
    site.wait_for(lambda: "waits for space" in str(site.row(ZVOL)["reason"]), "reason")
    assert site.row(ZVOL)["state"] in ("local", "pulling")
    unmap = site.send(wire.UnmapZvol(ZVOL))
    site.wait_for(lambda: bool(image(site).unmap_ids), "unmap recorded")
    site.nas.pools.leave_free("tank", 64 * MIB)
    site.answer(unmap)
    assert site.has_answer(pull)


def new_mapped(site: DrivenSite) -> HostNode:
    """Map another image, which is not copied yet; returns its host."""
    site.nas.pools.ensure_volume(f"tank/{NEW_ZVOL}", GIB, 16384)
    site.nas.pools.write(f"tank/{NEW_ZVOL}", os.urandom(4 * MIB), 0)
    site.map(NEW_ZVOL)
    assert site.state(NEW_ZVOL) == "mapped"
    return site.hosts[HOST]


@pytest.mark.slow
def test_a_first_copy_does_not_fill_the_pool_of_its_host(site: DrivenSite) -> None:
    """Guests of local images there would stop. The image stays mapped, says why, and is copied when there is space."""
    host = new_mapped(site)
    host.pools.leave_free("tank", GIB)
    site.wait_for(lambda: bool(site.row(NEW_ZVOL)["reason"]), "reason")
    exceed_tries(site, NEW_ZVOL)
    assert site.state(NEW_ZVOL) in ("mapped", "seeding")
    assert host.pools.read_pool("tank").free_bytes == GIB
    reason = site.row(NEW_ZVOL)["reason"]
    assert (
        f"{NEW_ZVOL} is not copied to {HOST}: its pool has 1.0 GiB free and 1.1 GiB are needed: 4." in reason
    )
    assert reason.endswith("to stay free; the copy continues when the pool has free space")
    host.pools.leave_free("tank", 2 * GIB)
    site.wait_for_state(NEW_ZVOL, "local")
    assert host.pools.content(f"tank/{NEW_ZVOL}") == site.nas.pools.content(f"tank/{NEW_ZVOL}")


def test_a_copy_ends_when_others_take_the_space(site: DrivenSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool fills after the copy has begun: it ends before the pool is full, and continues with space."""
    host = new_mapped(site)
    receive = host.pools.start_receive

    def start(spec: ReceiveSpec) -> Transfer:
        host.pools.leave_free("tank", GIB // 2)
        return receive(spec)

    monkeypatch.setattr(host_transfers, "_SPACE_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(host.pools, "start_receive", start)
        site.wait_for(lambda: "is not copied" in site.image(NEW_ZVOL).reason, "reason")
    assert "1.1 GiB are needed: 1.0 GiB for the merge of its guest's" in site.image(NEW_ZVOL).reason
    assert host.pools.read_pool("tank").free_bytes > GIB // 2 - MIB
    host.pools.leave_free("tank", 2 * GIB)
    site.wait_for_state(NEW_ZVOL, "local")


def test_a_partial_copy_that_cannot_continue_leaves_its_space_to_guests(site: DrivenSite) -> None:
    """Guests of local images have filled the pool meanwhile, and stand still."""
    host, seed = new_mapped(site), f"tank/.seed/{NEW_ZVOL}"
    site.nas.pools.cut_next_send(3 * MIB)
    site.wait_for(lambda: host.pools.read_volume(seed) is not None, "cut")
    assert host.pools.read_volume(seed).resume_token is not None  # type: ignore[union-attr] # it is there
    free_bytes = host.pools.read_pool("tank").free_bytes
    host.pools.fake.pools["tank"].size_bytes -= free_bytes - MIB
    site.wait_for(lambda: "is not copied" in str(site.row(NEW_ZVOL)["reason"]), "reason")
    assert host.pools.read_volume(seed) is None
    assert host.pools.read_pool("tank").free_bytes > MIB
    host.pools.leave_free("tank", 2 * GIB)
    site.wait_for_state(NEW_ZVOL, "local")
    assert host.pools.content(f"tank/{NEW_ZVOL}") == site.nas.pools.content(f"tank/{NEW_ZVOL}")


def test_a_copy_leaves_space_for_all_that_its_guest_has_written(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than was reserved at first: the merge would fill the pool, and the guests there would stop."""
    host = new_mapped(site)
    read, temp_write = host.pools.read_volume, f"tank/{NEW_ZVOL}-temp-write"

    def read_written(name: str) -> Any:
        fact = read(name)
        return fact._replace(referenced_bytes=3 * GIB) if name == temp_write and fact is not None else fact

    monkeypatch.setattr(host.pools, "read_volume", read_written)
    host.pools.leave_free("tank", 3 * GIB)
    site.wait_for(lambda: bool(site.row(NEW_ZVOL)["reason"]), "reason")
    assert site.state(NEW_ZVOL) in ("mapped", "seeding")
    assert "3.0 GiB for the merge of its guest's writes" in site.row(NEW_ZVOL)["reason"]
    host.pools.leave_free("tank", 4 * GIB)
    site.wait_for_state(NEW_ZVOL, "local")


def block(site: DrivenSite) -> None:
    """Block the image, as after records that came back from a backup."""
    site.nas.service._engine.take(image(site).image_id, Contradicted("the volume is newer"))
    assert site.row(ZVOL)["state"] == "blocked"


def test_end_of_a_machine_is_remembered_while_its_image_is_blocked(site: DrivenSite) -> None:
    """When the image is unblocked, no machine runs with it: it is written back, even after a restart of the daemon."""
    block(site)
    site.hosts[HOST].pools.write(f"tank/{ZVOL}", b"the last words", MIB)
    note_end(["vm-vc1-0", "release", "end", "-"], "", site.hosts[HOST].store.parent.parent)
    site.wait_for(lambda: bool(image(site).unmap_ids), "remembered")
    site.nas.die()
    site.nas.start()
    assert site.row(ZVOL)["state"] == "blocked"
    site.ask(wire.RetryZvol(ZVOL))
    site.wait_for_state(ZVOL, "unmapped")
    assert site.nas.pools.read(f"tank/{ZVOL}", 14, MIB) == b"the last words"


def test_unmap_of_a_blocked_image_is_answered_and_remembered(site: DrivenSite) -> None:
    """The command does not wait for an operator; a cancel forgets it."""
    block(site)
    with pytest.raises(StateError, match="the volume is newer; .*; the unmapping is remembered"):
        site.unmap(ZVOL)
    site.ask(wire.CancelZvol(ZVOL))
    site.ask(wire.RetryZvol(ZVOL))
    site.wait_for_state(ZVOL, "local")
    block(site)
    with pytest.raises(StateError, match="remembered"):
        site.unmap(ZVOL)
    site.ask(wire.RetryZvol(ZVOL))
    site.wait_for_state(ZVOL, "unmapped")


def test_removed_image_is_not_given_to_a_new_one_of_its_name(site: DrivenSite) -> None:
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


def test_removed_image_is_destroyed_when_its_grace_has_ended(site: DrivenSite) -> None:
    """Also when the daemon did not run at that moment."""
    site.unmap(ZVOL)
    site.ask(wire.DelZvol("tank", ZVOL, grace_seconds=300))
    assert site.row(ZVOL)["state"] == "deleting"
    site.nas.die()
    site.nas.start()
    site.wait_for(lambda: site.nas.pools.read_volume(f"tank/{ZVOL}") is None, "destroyed")
    assert site.rows() == []


def test_silent_host_is_listed_and_has_its_images(site: DrivenSite) -> None:
    """Nothing else is done: it may still run its guests."""
    nas, host = site.nas.service, site.hosts[HOST].service
    host._heartbeats.beat()
    site.wait_for(lambda: HOST in nas._store.beating_hosts(), "a heartbeat")
    nas._presence._now = lambda: time.monotonic() + 3600
    assert f"{HOST} has been silent for 0:59:" in note_of(site) or "1:00:0" in note_of(site)
    assert site.row(ZVOL)["state"] == "local"
    nas._presence._now = time.monotonic
    assert note_of(site) == "None"
