"""An image moves from one NAS to another: real daemons, devices in memory, no broker."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from rocks.core.errors import BusyError, RocksError, StateError
from rocks.storage.stream.lines import Opening, receive_line, write_opening
from rocks.storage.wire import requests as wire
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.nodes import HOSTS, NAS, NasNode

ZVOL, HOST = "vm-vol", HOSTS[0]
MIB = 2**20


class TwoNases(NamedTuple):
    site: DrivenSite
    other: NasNode

    def ask(self, request: Any, to: str = NAS) -> Mapping[str, Any]:
        return self.site.ask(request, to)

    def row(self, nas: str, zvol: str = ZVOL) -> Mapping[str, Any] | None:
        """The image's row in a NAS's listing; None without one."""
        return next((row for row in self.site.rows(nas) if row["zvol"] == zvol), None)

    def state(self, nas: str, zvol: str = ZVOL) -> str | None:
        """The image's state on a NAS; None without a row."""
        row = self.row(nas, zvol)
        return None if row is None else str(row["state"])

    def accept(self, zvol: str = ZVOL, pool: str = "tank", needed: int = 0) -> None:
        """Announce the image to the second NAS."""
        row = self.row(NAS, zvol)
        self.ask(wire.AcceptZvol(pool, zvol, NAS, str(row["image_id"]), needed), self.other.name)

    def move(self, zvol: str = ZVOL, grace_seconds: int = 3600) -> None:
        self.accept(zvol)
        self.ask(wire.MoveZvol(zvol, self.other.name, "tank", grace_seconds))

    def map(self, nas: str, zvol: str = ZVOL, host: str = HOST) -> str:
        """Map the image from a NAS, and wait until it is local."""
        device = self.site.map(zvol, host, nas=nas)
        self.site.wait_for_state(zvol, "local", nas)
        return device


@pytest.fixture
def nases(site: DrivenSite) -> TwoNases:
    """Two NASes and two hosts; the hosts reach the iSCSI targets of the first only."""
    return TwoNases(site, site.other_nas)


def create_image(nases: TwoNases, zvol: str = ZVOL) -> dict[int, bytes]:
    """Create an image with two snapshots, a hole, and writes after the last snapshot; returns its blocks."""
    pools = nases.site.nas.pools
    nases.ask(wire.AddZvol("tank", zvol, 64 * MIB))
    pools.write(f"tank/{zvol}", b"first" * 5000, 0)
    fact = pools.read_volume(f"tank/{zvol}")
    pools.ensure_snapshot(fact.name, fact.guid, "img-1-1-20260101T000000Z", {})
    pools.write(f"tank/{zvol}", b"second" * 5000, 40 * MIB)
    pools.ensure_snapshot(fact.name, fact.guid, "by-hand", {})
    pools.write(f"tank/{zvol}", b"third" * 50, 60 * MIB)
    return dict(pools.content(f"tank/{zvol}"))


def guids(machine: NasNode, zvol: str = ZVOL) -> list[str]:
    return [one.guid for one in machine.pools.read_history(f"tank/{zvol}").snapshots]


def test_image_moves_with_its_snapshots_and_settings(nases: TwoNases) -> None:
    """GUIDs, content, attributes and identity are the same; the old image is unusable, and nothing partial remains."""
    content = create_image(nases)
    nases.ask(wire.SetZvolAttrs(ZVOL, (("frequency", "7200"), ("uploadspeed", "50M"), ("persistent", "no"))))
    before = nases.row(NAS)
    nases.move()
    here, there = nases.row(NAS), nases.row(nases.other.name)
    assert (here["state"], here["peer"], there["state"]) == ("deleting", nases.other.name, "unmapped")
    assert there["image_id"] == before["image_id"] != here["image_id"]
    assert (there["frequency"], there["persistent"], there["epoch"]) == (7200, False, here["epoch"] + 1)
    assert nases.other.pools.content(f"tank/{ZVOL}") == content
    assert guids(nases.other) == guids(nases.site.nas) and len(guids(nases.other)) == 3
    assert [fact.name for fact in nases.other.pools.list_volumes("tank")] == [f"tank/{ZVOL}"]
    with pytest.raises(StateError, match=f"was moved to {nases.other.name}: repeat rocks move"):
        nases.map(NAS)


def test_host_uses_its_retained_copy_when_the_other_nas_maps_the_image(nases: TwoNases) -> None:
    """GUIDs survive the move: nothing is transferred again, and nothing is quarantined."""
    create_image(nases)
    nases.map(NAS)
    nases.site.unmap(ZVOL)
    nases.move()
    host = nases.site.hosts[HOST]
    nases.map(nases.other.name)
    assert [fact.name for fact in host.pools.list_volumes("tank")] == [f"tank/{ZVOL}"]
    host.pools.write(f"tank/{ZVOL}", b"after the move", 5 * MIB)
    nases.ask(wire.UnmapZvol(ZVOL), nases.other.name)
    assert nases.other.pools.read(f"tank/{ZVOL}", 14, 5 * MIB) == b"after the move"
    assert nases.site.nas.pools.read(f"tank/{ZVOL}", 14, 5 * MIB) == bytes(14)


def test_old_volume_is_restored_as_an_image_of_its_own(nases: TwoNases) -> None:
    """The image on the other NAS is not affected. Without the restore, the old volume is destroyed after its grace."""
    content = create_image(nases)
    nases.move()
    nases.ask(wire.UndeleteZvol(ZVOL))
    here, there = nases.row(NAS), nases.row(nases.other.name)
    assert here is not None and there is not None and here["image_id"] != there["image_id"]
    assert (here["state"], here["peer"]) == ("unmapped", None)
    nases.map(NAS)
    assert nases.site.hosts[HOST].pools.content(f"tank/{ZVOL}") == content
    create_image(nases, "second")
    nases.move("second", grace_seconds=0)
    nases.site.wait_for(lambda: nases.row(NAS, "second") is None, "destroyed")
    assert nases.site.nas.pools.read_volume("tank/second") is None


def test_move_back_after_the_old_volume_is_gone(nases: TwoNases) -> None:
    """While it is in its grace period its name is in use."""
    content = create_image(nases)
    nases.move()
    row = nases.row(nases.other.name)
    back = wire.AcceptZvol("tank", ZVOL, nases.other.name, str(row["image_id"]))
    with pytest.raises(StateError, match=f"exists already on {NAS}"):
        nases.ask(back)
    nases.ask(wire.DelZvol("tank", ZVOL))
    nases.site.wait_for(lambda: nases.row(NAS) is None, "destroyed")
    nases.ask(back)
    nases.ask(wire.MoveZvol(ZVOL, NAS, "tank", 3600), nases.other.name)
    assert nases.site.nas.pools.content(f"tank/{ZVOL}") == content
    nases.map(NAS)


def refused(nases: TwoNases, zvol: str = ZVOL) -> str:
    """The error of a move that changes nothing; both NASes are as before, apart from the expectation."""
    with pytest.raises(RocksError) as error:
        nases.move(zvol)
    return str(error.value)


def test_what_is_not_moved(nases: TwoNases) -> None:
    """Each error names the obstacle; the image stays as it was."""
    create_image(nases)
    nases.ask(wire.AddZvol("tank", "a-clone", origin=ZVOL))
    assert "tank/a-clone is a clone of" in refused(nases)
    assert nases.state(NAS) == "unmapped"
    nases.ask(wire.DelZvol("tank", "a-clone"))
    nases.site.wait_for(lambda: nases.row(NAS, "a-clone") is None, "destroyed")
    pools = nases.site.nas.pools
    held = pools.read_history(f"tank/{ZVOL}").snapshots[0]
    pools.ensure_hold(f"tank/{ZVOL}", held.name, held.guid, "backup")
    assert "is held by backup" in refused(nases)
    pools.ensure_released(f"tank/{ZVOL}", held.name, held.guid, "backup")
    nases.map(NAS)
    assert f"cannot be moved: {HOST} has it" in refused(nases)
    nases.site.unmap(ZVOL)
    nases.move()
    assert nases.state(nases.other.name) == "unmapped"


def test_other_nas_refuses(nases: TwoNases) -> None:
    """It does not have the pool, the name is in use, space is short, or nobody announced the image."""
    create_image(nases)
    with pytest.raises(RocksError, match="nopool"):
        nases.accept(pool="nopool")
    with pytest.raises(StateError, match="are needed for ZVol"):
        nases.accept(needed=2**50)
    with pytest.raises(StateError, match="does not expect this image"):
        nases.ask(wire.MoveZvol(ZVOL, nases.other.name, "tank"))
    assert nases.state(NAS) == "unmapped"
    nases.ask(wire.AddZvol("tank", ZVOL, MIB), nases.other.name)
    with pytest.raises(StateError, match=f"exists already on {nases.other.name}"):
        nases.accept()
    with pytest.raises(RocksError, match="is on nas-0-0 already"):
        nases.ask(wire.MoveZvol(ZVOL, NAS, "tank"))
    assert nases.other.pools.read_volume(f"tank/.arriving/{ZVOL}") is None


def test_name_of_an_arriving_image_is_not_used_meanwhile(nases: TwoNases) -> None:
    """No new volume, no empty image for a start; the expectation is listed, repeatable and cancellable."""
    create_image(nases)
    nases.accept()
    nases.accept()
    row = nases.row(nases.other.name)
    assert row is not None and (row["state"], row["peer"]) == ("arriving", NAS)
    for request in (
        wire.AddZvol("tank", ZVOL, MIB),
        wire.MapZvol("tank", ZVOL, HOST, "tank", 1, True, "iqn.x"),
    ):
        with pytest.raises(StateError, match=f"is being moved to {nases.other.name} from {NAS}"):
            nases.ask(request, nases.other.name)
    assert nases.other.pools.list_volumes("tank") == ()
    nases.ask(wire.CancelZvol(ZVOL), nases.other.name)
    assert nases.row(nases.other.name) is None


def test_full_pool_there_is_waited_for_and_listed(nases: TwoNases) -> None:
    """Nothing is lost and nobody else gets the image; with space it ends by itself."""
    content = create_image(nases)
    nases.other.pools.leave_free("tank", 4096)
    nases.accept()
    move = nases.site.send(wire.MoveZvol(ZVOL, nases.other.name, "tank", 3600))
    nases.site.wait_for(lambda: "waits for space" in str((nases.row(NAS) or {})["reason"]), "waits")
    operation = nases.ask(wire.ListOperations())["body"][0]
    assert (operation["action"], operation["host"], operation["phase"]) == (
        "move_zvol",
        nases.other.name,
        "moving",
    )
    assert "waits for space" in operation["reason"]
    with pytest.raises(BusyError, match="is being moved"):
        nases.map(NAS)
    nases.other.pools.leave_free("tank", 2**30)
    nases.site.answer(move)
    assert nases.other.pools.content(f"tank/{ZVOL}") == content


def test_cancelled_move_leaves_the_image_here(nases: TwoNases) -> None:
    """And nothing there; its operation is answered."""
    create_image(nases)
    nases.other.pools.leave_free("tank", 4096)
    nases.accept()
    move = nases.site.send(wire.MoveZvol(ZVOL, nases.other.name, "tank"))
    nases.site.wait_for(lambda: nases.state(NAS) == "moving", "moving")
    nases.ask(wire.CancelZvol(ZVOL))
    with pytest.raises(RocksError, match="was cancelled by a command"):
        nases.site.answer(move)
    nases.ask(wire.CancelZvol(ZVOL), nases.other.name)
    assert nases.state(NAS) == "unmapped" and nases.row(nases.other.name) is None
    assert nases.other.pools.list_volumes("tank") == ()
    nases.map(NAS)


def test_stream_that_is_cut_goes_on(nases: TwoNases) -> None:
    """What was received is not sent again, and the move ends by itself."""
    content = create_image(nases)
    nases.site.nas.pools.cut_next_send(30_000)
    nases.move()
    assert nases.other.pools.content(f"tank/{ZVOL}") == content


def test_other_content_is_never_taken_over(nases: TwoNases, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other NAS reads a wrong bit: the image stays here, and what was received is destroyed."""
    create_image(nases)
    monkeypatch.setattr(nases.other.pools, "read", lambda name, size, at: b"x" * min(size, 64 * MIB - at))
    assert "reads other content" in refused(nases)
    assert nases.state(NAS) == "unmapped" and nases.state(nases.other.name) == "arriving"
    assert nases.other.pools.list_volumes("tank") == ()


def test_a_host_or_another_nas_can_neither_send_nor_take_an_image(nases: TwoNases) -> None:
    """Only the NAS from which the frontend has announced it."""
    create_image(nases)
    nases.accept()
    row = nases.row(NAS)
    for node in (HOST, "nas-1-19"):
        for purpose in ("move", "hand_over"):
            opening = write_opening(Opening(purpose, str(row["image_id"]), 99, "1"))
            with (
                nases.site.connect(node, "", 0, nases.other.name, opening) as connection,
                pytest.raises(StateError, match=f"does not expect this image from {node}"),
            ):
                receive_line(connection.reader)
    assert nases.state(nases.other.name) == "arriving"


def test_records_from_before_the_move_do_not_revive_the_image(nases: TwoNases) -> None:
    """The volume says that it was moved: the image is blocked, and clean leads to its grace period, not two images."""
    create_image(nases)
    nases.map(NAS)
    nases.site.unmap(ZVOL)
    store = nases.site.nas.store
    nases.site.nas.die()
    copy = store.with_suffix(".copy")
    copy.write_bytes(store.read_bytes())
    nases.site.nas.start()
    nases.move()
    nases.site.nas.die()
    for file in store.parent.glob(f"{store.name}-*"):
        file.unlink()
    store.write_bytes(copy.read_bytes())
    nases.site.nas.start()
    assert nases.state(NAS) == "blocked"
    nases.ask(wire.RetryZvol(ZVOL))
    nases.site.wait_for_state(ZVOL, "deleting")
    here, there = nases.row(NAS), nases.row(nases.other.name)
    assert here is not None and there is not None and here["image_id"] != there["image_id"]


def test_lost_records_do_not_revive_the_image(nases: TwoNases) -> None:
    """Adopted by its properties, the old volume waits for restore or destruction."""
    create_image(nases)
    nases.move()
    nases.site.lose_records()
    with pytest.raises(StateError, match="was removed and is in its grace period"):
        nases.map(NAS)
    here, there = nases.row(NAS), nases.row(nases.other.name)
    assert here is not None and there is not None and here["image_id"] != there["image_id"]
