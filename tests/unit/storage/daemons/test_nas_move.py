"""An image moves from one NAS to another: real daemons, devices in memory, no broker."""

from collections.abc import Mapping
from typing import Any

import pytest

from rocks.core.errors import BusyError, RocksError, StateError
from rocks.storage.image.effects import SendToNas
from rocks.storage.image.events import EffectDone
from rocks.storage.nas import moves
from rocks.storage.nas.engine import Engine
from rocks.storage.store.file import RecordsError
from rocks.storage.stream.frames import Opening, receive_line, write_opening
from rocks.storage.wire import requests as wire
from tests.unit.storage.daemons.checks import check
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.nodes import HOSTS, NAS, OTHER_NAS, NasNode

ZVOL, HOST = "vm-vol", HOSTS[0]
MIB = 2**20


def listed(site: DrivenSite, nas: str, zvol: str = ZVOL) -> Mapping[str, Any]:
    """The image's row in a NAS's listing, which has arriving ones; empty without one."""
    return next((row for row in site.rows(nas) if row["zvol"] == zvol), {})


def listed_state(site: DrivenSite, nas: str) -> str | None:
    return listed(site, nas).get("state")


def accept(site: DrivenSite, zvol: str = ZVOL, pool: str = "tank", needed: int = 0) -> None:
    """Announce the image to the second NAS."""
    site.ask(wire.AcceptZvol(pool, zvol, NAS, site.image(zvol).image_id, needed), OTHER_NAS)


def move(site: DrivenSite, zvol: str = ZVOL, grace_seconds: int = 3600) -> None:
    accept(site, zvol)
    site.ask(wire.MoveZvol(zvol, OTHER_NAS, "tank", grace_seconds))


def map_local(site: DrivenSite, nas: str) -> None:
    """Map the image from a NAS, and wait until it is local; the hosts reach the iSCSI targets of the first only."""
    site.map(ZVOL, nas=nas)
    site.wait_for_state(ZVOL, "local", nas)


def create_image(site: DrivenSite, zvol: str = ZVOL) -> dict[int, bytes]:
    """Create an image with two snapshots, a hole, and writes after the last snapshot; returns its blocks."""
    pools = site.nas.pools
    site.ask(wire.AddZvol("tank", zvol, 64 * MIB))
    pools.write(f"tank/{zvol}", b"first" * 5000, 0)
    fact = pools.read_volume(f"tank/{zvol}")
    pools.ensure_snapshot(fact.name, fact.guid, "img-1-1-20260101T000000Z", {})
    pools.write(f"tank/{zvol}", b"second" * 5000, 40 * MIB)
    pools.ensure_snapshot(fact.name, fact.guid, "by-hand", {})
    pools.write(f"tank/{zvol}", b"third" * 50, 60 * MIB)
    return dict(pools.content(f"tank/{zvol}"))


def guids(machine: NasNode, zvol: str = ZVOL) -> list[str]:
    return [one.guid for one in machine.pools.read_history(f"tank/{zvol}").snapshots]


def test_image_moves_with_its_snapshots_and_settings(site: DrivenSite) -> None:
    """GUIDs, content, attributes and identity are the same; the old image is unusable, and nothing partial remains."""
    content = create_image(site)
    site.ask(wire.SetZvolAttrs(ZVOL, (("frequency", "7200"), ("uploadspeed", "50M"), ("persistent", "no"))))
    before = listed(site, NAS)
    move(site)
    here, there = listed(site, NAS), listed(site, OTHER_NAS)
    assert (here["state"], here["peer"], there["state"]) == ("deleting", OTHER_NAS, "unmapped")
    assert there["image_id"] == before["image_id"] != here["image_id"]
    assert (there["frequency"], there["persistent"]) == (7200, False)
    assert site.image(ZVOL, OTHER_NAS).epoch == site.image(ZVOL).epoch + 1
    assert site.other_nas.pools.content(f"tank/{ZVOL}") == content
    assert guids(site.other_nas) == guids(site.nas) and len(guids(site.other_nas)) == 3
    assert [fact.name for fact in site.other_nas.pools.list_volumes("tank")] == [f"tank/{ZVOL}"]
    with pytest.raises(StateError, match=f"was moved to {OTHER_NAS}: repeat rocks move"):
        map_local(site, NAS)


def test_the_end_of_a_move_that_cannot_be_recorded_is_tried_again(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file system of the records was full for a moment, after hours of transfer."""
    content = create_image(site)
    take, refused = Engine.take, []

    def take_later(engine: Engine, image_id: str, event: object) -> object:
        work = engine.image(image_id).work
        is_sent = isinstance(event, EffectDone) and isinstance(work.effects[work.position], SendToNas)
        if is_sent and not refused:
            refused.append(image_id)
            raise RecordsError("database or disk is full")
        return take(engine, image_id, event)

    monkeypatch.setattr(Engine, "take", take_later)
    monkeypatch.setattr(moves, "AGAIN_SECONDS", 0.0)
    move(site)
    assert refused and listed_state(site, NAS) == "deleting"
    assert site.other_nas.pools.content(f"tank/{ZVOL}") == content


def test_host_uses_its_retained_copy_when_the_other_nas_maps_the_image(site: DrivenSite) -> None:
    """GUIDs survive the move: nothing is transferred again, and nothing is quarantined."""
    create_image(site)
    map_local(site, NAS)
    site.unmap(ZVOL)
    move(site)
    host = site.hosts[HOST]
    map_local(site, OTHER_NAS)
    assert [fact.name for fact in host.pools.list_volumes("tank")] == [f"tank/{ZVOL}"]
    host.pools.write(f"tank/{ZVOL}", b"after the move", 5 * MIB)
    site.ask(wire.UnmapZvol(ZVOL), OTHER_NAS)
    assert site.other_nas.pools.read(f"tank/{ZVOL}", 14, 5 * MIB) == b"after the move"
    assert site.nas.pools.read(f"tank/{ZVOL}", 14, 5 * MIB) == bytes(14)


def test_old_volume_is_restored_as_an_image_of_its_own(site: DrivenSite) -> None:
    """The image on the other NAS is not affected. Without the restore, the old volume is destroyed after its grace."""
    content = create_image(site)
    move(site)
    site.ask(wire.UndeleteZvol(ZVOL))
    here, there = listed(site, NAS), listed(site, OTHER_NAS)
    assert here and there and here["image_id"] != there["image_id"]
    assert (here["state"], here["peer"]) == ("unmapped", None)
    map_local(site, NAS)
    assert site.hosts[HOST].pools.content(f"tank/{ZVOL}") == content
    create_image(site, "second")
    move(site, "second", grace_seconds=0)
    site.wait_for(lambda: not listed(site, NAS, "second"), "destroyed")
    assert site.nas.pools.read_volume("tank/second") is None


@pytest.mark.slow
def test_move_back_after_the_old_volume_is_gone(site: DrivenSite) -> None:
    """While it is in its grace period its name is in use."""
    content = create_image(site)
    move(site)
    row = listed(site, OTHER_NAS)
    back = wire.AcceptZvol("tank", ZVOL, OTHER_NAS, str(row["image_id"]))
    with pytest.raises(StateError, match=f"exists already on {NAS}"):
        site.ask(back)
    site.ask(wire.DelZvol("tank", ZVOL))
    site.wait_for(lambda: not listed(site, NAS), "destroyed")
    site.ask(back)
    site.ask(wire.MoveZvol(ZVOL, NAS, "tank", 3600), OTHER_NAS)
    assert site.nas.pools.content(f"tank/{ZVOL}") == content
    map_local(site, NAS)


def refused(site: DrivenSite, zvol: str = ZVOL) -> str:
    """The error of a move that changes nothing; both NASes are as before, apart from the expectation."""
    with pytest.raises(RocksError) as error:
        move(site, zvol)
    return str(error.value)


def test_what_is_not_moved(site: DrivenSite) -> None:
    """Each error names the obstacle; the image stays as it was."""
    create_image(site)
    site.ask(wire.AddZvol("tank", "a-clone", origin=ZVOL))
    assert "tank/a-clone is a clone of" in refused(site)
    assert listed_state(site, NAS) == "unmapped"
    site.ask(wire.DelZvol("tank", "a-clone"))
    site.wait_for(lambda: not listed(site, NAS, "a-clone"), "destroyed")
    pools = site.nas.pools
    held = pools.read_history(f"tank/{ZVOL}").snapshots[0]
    pools.ensure_hold(f"tank/{ZVOL}", held.name, held.guid, "backup")
    assert "is held by backup" in refused(site)
    pools.ensure_released(f"tank/{ZVOL}", held.name, held.guid, "backup")
    map_local(site, NAS)
    assert f"cannot be moved: {HOST} has it" in refused(site)
    site.unmap(ZVOL)
    move(site)
    assert listed_state(site, OTHER_NAS) == "unmapped"


def test_other_nas_refuses(site: DrivenSite) -> None:
    """It does not have the pool, the name is in use, space is short, or nobody announced the image."""
    create_image(site)
    with pytest.raises(RocksError, match="nopool"):
        accept(site, pool="nopool")
    with pytest.raises(StateError, match="are needed for ZVol"):
        accept(site, needed=2**50)
    with pytest.raises(StateError, match="does not expect this image"):
        site.ask(wire.MoveZvol(ZVOL, OTHER_NAS, "tank"))
    assert listed_state(site, NAS) == "unmapped"
    site.ask(wire.AddZvol("tank", ZVOL, MIB), OTHER_NAS)
    with pytest.raises(StateError, match=f"exists already on {OTHER_NAS}"):
        accept(site)
    with pytest.raises(RocksError, match="is on nas-0-0 already"):
        site.ask(wire.MoveZvol(ZVOL, NAS, "tank"))
    assert site.other_nas.pools.read_volume(f"tank/.arriving/{ZVOL}") is None


def test_name_of_an_arriving_image_is_not_used_meanwhile(site: DrivenSite) -> None:
    """No new volume, no empty image for a start; the expectation is listed, repeatable and cancellable."""
    create_image(site)
    accept(site)
    accept(site)
    row = listed(site, OTHER_NAS)
    assert (row["state"], row["peer"]) == ("arriving", NAS)
    for request in (
        wire.AddZvol("tank", ZVOL, MIB),
        wire.MapZvol("tank", ZVOL, HOST, "tank", 1, True, "iqn.x"),
    ):
        with pytest.raises(StateError, match=f"is being moved to {OTHER_NAS} from {NAS}"):
            site.ask(request, OTHER_NAS)
    assert site.other_nas.pools.list_volumes("tank") == ()
    site.ask(wire.CancelZvol(ZVOL), OTHER_NAS)
    assert not listed(site, OTHER_NAS)


def test_full_pool_there_is_waited_for_and_listed(site: DrivenSite) -> None:
    """Nothing is lost and nobody else gets the image; with space it ends by itself."""
    content = create_image(site)
    site.other_nas.pools.leave_free("tank", 4096)
    accept(site)
    move = site.send(wire.MoveZvol(ZVOL, OTHER_NAS, "tank", 3600))
    site.wait_for(lambda: "waits for space" in str(listed(site, NAS)["reason"]), "waits")
    operation = site.ask(wire.ListOperations())["body"][0]
    assert (operation["action"], operation["host"], operation["phase"]) == (
        "move_zvol",
        OTHER_NAS,
        "moving",
    )
    assert "waits for space" in operation["reason"]
    with pytest.raises(BusyError, match="is being moved"):
        map_local(site, NAS)
    site.other_nas.pools.leave_free("tank", 2**30)
    site.answer(move)
    assert site.other_nas.pools.content(f"tank/{ZVOL}") == content


def test_cancelled_move_leaves_the_image_here(site: DrivenSite) -> None:
    """And nothing there; its operation is answered."""
    create_image(site)
    site.other_nas.pools.leave_free("tank", 4096)
    accept(site)
    move = site.send(wire.MoveZvol(ZVOL, OTHER_NAS, "tank"))
    site.wait_for(lambda: listed_state(site, NAS) == "moving", "moving")
    assert check(site, wire.CancelZvol(ZVOL)) == "", "the end of the other operation is no refusal"
    site.ask(wire.CancelZvol(ZVOL))
    with pytest.raises(RocksError, match="was cancelled by a command"):
        site.answer(move)
    site.ask(wire.CancelZvol(ZVOL), OTHER_NAS)
    assert listed_state(site, NAS) == "unmapped" and not listed(site, OTHER_NAS)
    assert site.other_nas.pools.list_volumes("tank") == ()
    map_local(site, NAS)


@pytest.mark.parametrize("when", ["it begins", "it ends"])
def test_a_move_that_is_cancelled_there_does_not_come_back(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Its name is free there, although its transfer was just about to record how far it is."""
    create_image(site)
    service = site.other_nas.service
    allowed, compare, seen = service._arrivals._allowed, moves.is_same_content, list[str]()

    def allow(peer: str, opening: Opening) -> object:
        found = allowed(peer, opening)
        seen.append("asked")
        if (seen == ["asked"] * 2) if when == "it begins" else "compared" in seen:
            service._store.forget_arrival(ZVOL)  # as the first thing that a cancellation does
        return found

    def compared(*values: Any) -> bool:
        seen.append("compared")
        return compare(*values)

    monkeypatch.setattr(service._arrivals, "_allowed", allow)
    monkeypatch.setattr(moves, "is_same_content", compared)
    assert "the move was cancelled" in refused(site)
    assert listed_state(site, NAS) == "unmapped" and not listed(site, OTHER_NAS)
    site.ask(wire.AddZvol("tank", ZVOL, MIB), OTHER_NAS)


def test_stream_that_is_cut_goes_on(site: DrivenSite) -> None:
    """What was received is not sent again, and the move ends by itself."""
    content = create_image(site)
    site.nas.pools.cut_next_send(30_000)
    move(site)
    assert site.other_nas.pools.content(f"tank/{ZVOL}") == content


def test_other_content_is_never_taken_over(site: DrivenSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other NAS reads a wrong bit: the image stays here, and what was received is destroyed."""
    create_image(site)
    monkeypatch.setattr(site.other_nas.pools, "read", lambda name, size, at: b"x" * min(size, 64 * MIB - at))
    assert "reads other content" in refused(site)
    assert listed_state(site, NAS) == "unmapped" and listed_state(site, OTHER_NAS) == "arriving"
    assert site.other_nas.pools.list_volumes("tank") == ()


def test_a_host_or_another_nas_can_neither_send_nor_take_an_image(site: DrivenSite) -> None:
    """Only the NAS from which the frontend has announced it."""
    create_image(site)
    accept(site)
    row = listed(site, NAS)
    for node in (HOST, "nas-1-19"):
        for purpose in ("move", "hand_over"):
            opening = write_opening(Opening(purpose, str(row["image_id"]), 99, "1"))
            with (
                site.connect(node, "", 0, OTHER_NAS, opening) as connection,
                pytest.raises(StateError, match=f"does not expect this image from {node}"),
            ):
                receive_line(connection.reader)
    assert listed_state(site, OTHER_NAS) == "arriving"


@pytest.mark.slow
def test_records_from_before_the_move_do_not_revive_the_image(site: DrivenSite) -> None:
    """The volume says that it was moved: the image is blocked, and clean leads to its grace period, not two images."""
    create_image(site)
    map_local(site, NAS)
    site.unmap(ZVOL)
    store = site.nas.store
    site.nas.die()
    copy = store.with_suffix(".copy")
    copy.write_bytes(store.read_bytes())
    site.nas.start()
    move(site)
    site.nas.die()
    for file in store.parent.glob(f"{store.name}-*"):
        file.unlink()
    store.write_bytes(copy.read_bytes())
    site.nas.start()
    assert listed_state(site, NAS) == "blocked"
    site.ask(wire.RetryZvol(ZVOL))
    site.wait_for_state(ZVOL, "deleting")
    here, there = listed(site, NAS), listed(site, OTHER_NAS)
    assert here and there and here["image_id"] != there["image_id"]


def test_lost_records_do_not_revive_the_image(site: DrivenSite) -> None:
    """Adopted by its properties, the old volume waits for restore or destruction."""
    create_image(site)
    move(site)
    site.lose_records()
    with pytest.raises(StateError, match="was removed and is in its grace period"):
        map_local(site, NAS)
    here, there = listed(site, NAS), listed(site, OTHER_NAS)
    assert here and there and here["image_id"] != there["image_id"]
