"""An image from its first map to its removal: what each step leaves on the NAS and on the hosts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from rocks.core.errors import BusyError, Code, HostError, StateError, UserError
from rocks.machine.host.hook import note_end
from rocks.storage.host import copies as host_transfers
from rocks.storage.nas.volumes import IMPORTING
from rocks.storage.wire import requests as wire
from rocks.storage.wire.messages import write_request
from tests.generated import moments_step
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.lives import LIVES, copied, moved
from tests.unit.storage.daemons.nodes import HOST, NAS, OTHER_HOST, OTHER_NAS

ZVOL = "vm-vc1-0-vol"
MINE, THEIRS = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


def test_iscsi_only_image_is_never_copied(site: DrivenSite) -> None:
    """With sync false the guest has the NAS's disk, writable, until it is unmapped."""
    device = site.map(ZVOL, sync=False)
    assert site.row(ZVOL)["state"] == "remote"
    assert device == site.hosts[HOST].sessions.read_sessions()[0].device_path
    assert [export.read_only for export in site.nas.targets.read_exports()] == [False]
    volume = site.nas.pools.read_volume(f"tank/{ZVOL}")
    assert volume is not None and volume.is_synchronous, "a NAS that loses its power has what it has answered"
    site.hosts[HOST].sessions.users[device] = "a guest"
    with pytest.raises(StateError, match="Error detaching"):
        site.unmap(ZVOL)
    assert site.row(ZVOL)["state"] == "remote"
    site.hosts[HOST].sessions.users.clear()
    site.unmap(ZVOL)
    assert site.leftovers() == []


def test_transfer_that_is_tried_again_was_queued_once(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list shows since when the image waits to be copied, not since its last try."""

    def cut(*_: object) -> NoReturn:
        raise HostError("the cable is out")

    with monkeypatch.context() as while_cut:
        while_cut.setattr(host_transfers, "connect", cut)
        site.map(ZVOL)
        seen = []
        for _ in range(8):
            site.turn()
            seen.append(site.row(ZVOL))
    assert {row["state"] for row in seen} == {"mapped", "seeding"}
    assert len({row["time"] for row in seen}) == 1 and seen[0]["time"] < site.now - 200
    site.wait_for_state(ZVOL, "local")
    assert site.row(ZVOL)["time"] is None
    site.unmap(ZVOL)


def test_iscsi_only_image_cannot_forget(site: DrivenSite) -> None:
    """What its guest writes is on the NAS at once."""
    site.map(ZVOL, sync=False)
    with pytest.raises(StateError, match="mapped without a copy"):
        site.ask(wire.SetZvolAttrs(ZVOL, (("persistent", "no"),)))
    site.unmap(ZVOL)
    site.ask(wire.SetZvolAttrs(ZVOL, (("persistent", "no"),)))
    with pytest.raises(UserError, match="is not persistent, and without a copy"):
        site.map(ZVOL, sync=False)
    assert site.row(ZVOL)["state"] == "unmapped"


def test_refusals_are_the_texts_that_tools_know(site: DrivenSite) -> None:
    """And nothing is changed by them."""
    with pytest.raises(StateError, match=f"ZVol {ZVOL} not found in database"):
        site.unmap(ZVOL)
    site.map_local(ZVOL)
    with pytest.raises(StateError, match="already mapped"):
        site.map(ZVOL, OTHER_HOST)
    with pytest.raises(StateError, match="is mapped"):
        site.ask(wire.DelZvol("tank", ZVOL))
    site.unmap(ZVOL)
    with pytest.raises(StateError, match="is not mapped"):
        site.unmap(ZVOL)
    site.ask(wire.DelZvol("tank", ZVOL))
    site.wait_for(lambda: site.nas.pools.read_volume(f"tank/{ZVOL}") is None, "destroyed")
    assert site.rows() == []


def test_image_of_an_ended_machine_is_written_back(site: DrivenSite) -> None:
    """libvirt's hook writes a note; the daemon reports it to the NAS, which accepts it for its own images only."""
    site.map_local(ZVOL)
    host, other = site.hosts[HOST], site.hosts[OTHER_HOST]
    host.pools.write(f"tank/{ZVOL}", b"the last word", 4096)
    for machine in (other, host):
        (machine.store.parent / "released").mkdir(exist_ok=True)
    note_end(["vm-vc1-0", "release", "end", "-"], "", host.store.parent.parent)
    (host.store.parent / "released" / "another-vm").touch()
    site.wait_for_state(ZVOL, "unmapped")
    assert site.nas.pools.read(f"tank/{ZVOL}", 13, 4096) == b"the last word"
    site.wait_for(lambda: not list((host.store.parent / "released").iterdir()), "no notes left")
    assert site.leftovers() == []


def test_old_news_does_not_take_a_started_machine_its_image(site: DrivenSite) -> None:
    """Stopped and started at once: the host reports the end of the earlier lease when the newer one has the image."""
    for token in (7, 8):
        site.map_local(ZVOL, token=token)
    folder = site.hosts[HOST].store.parent / "released"
    xml = '<domain><name>vm-vc1-0</name><metadata><l:lease xmlns:l="urn:rocks:lease" token="{}"/></metadata></domain>'
    note_end(["vm-vc1-0", "release", "end", "-"], xml.format(7), folder.parents[1])
    site.wait_for(lambda: not list(folder.iterdir()), "no notes left")
    site.ask(wire.PullZvol(ZVOL))
    assert site.row(ZVOL)["state"] in ("local", "pulling")
    assert len(site.hosts[HOST].dm_devices.list()) == 1
    note_end(["vm-vc1-0", "release", "end", "-"], xml.format(8), folder.parents[1])
    site.wait_for_state(ZVOL, "unmapped")
    assert site.leftovers() == []


def test_a_machine_never_gets_the_image_of_a_former_one_of_its_name(site: DrivenSite) -> None:
    """Also when the NAS has lost its records; an operator, or a frontend of an earlier release, sends no UUID."""
    site.map_local(ZVOL, token=7)
    site.unmap(ZVOL)
    site.map_local(ZVOL, token=8, machine=MINE)
    site.map_local(ZVOL, token=9, machine=MINE)
    site.unmap(ZVOL)
    for _ in range(2):
        with pytest.raises(StateError, match="belongs to another machine") as raised:
            site.map(ZVOL, token=10, machine=THEIRS)
        assert raised.value.code is Code.IMAGE_FOREIGN
        assert f"rocks remove host storageimg {NAS} tank {ZVOL}" in str(raised.value)
        assert f"rocks set host vm HOST uuid={MINE}" in str(raised.value)
        assert site.row(ZVOL)["state"] == "unmapped" and site.leftovers() == []
        site.lose_records()
    site.map_local(ZVOL, token=11)
    site.unmap(ZVOL)
    site.map_local(ZVOL, token=12, machine=MINE)
    site.unmap(ZVOL)


def test_a_refused_start_does_not_discard_the_changes_of_the_former_machine(site: DrivenSite) -> None:
    """The start of a machine made anew, with img_persistent no: it sets the attribute before it maps."""
    site.map_local(ZVOL, token=7, machine=MINE)
    site.hosts[HOST].pools.write(f"tank/{ZVOL}", b"of the former", 4096)
    with pytest.raises(StateError, match="belongs to another machine") as raised:
        site.ask(wire.SetZvolAttrs(ZVOL, (("persistent", "no"),), THEIRS))
    assert raised.value.code is Code.IMAGE_FOREIGN
    assert site.row(ZVOL)["persistent"] is True
    site.unmap(ZVOL)
    assert site.nas.pools.read(f"tank/{ZVOL}", 13, 4096) == b"of the former"


def test_request_after_its_deadline_is_not_performed(site: DrivenSite) -> None:
    """It lay in the queue while the NAS was away; a start that was given up maps nothing."""
    body = write_request(
        wire.MapZvol("tank", ZVOL, HOST, "tank", 1, False, "iqn.2024-01.org:x"), deadline=1000
    )
    with pytest.raises(BusyError, match="after its deadline"):
        site.answer(site.send_body(body))
    for late in (
        wire.AddBase("tank", "a" * 64, 2**20, 0, "debian"),
        wire.CloneZvols("tank", ()),
        wire.FreezeZvols("tank", ()),
    ):
        with pytest.raises(BusyError, match="after its deadline"):
            site.answer(site.send_body(write_request(late, deadline=1000)))
    assert site.rows() == []


def test_new_image_is_listed_at_once(site: DrivenSite) -> None:
    """With snapshots and attributes, before any host had it."""
    site.ask(wire.AddZvol("tank", "empty", 2**20))
    assert site.row("empty")["state"] == "unmapped"
    assert site.ask(wire.ListSnapshots("empty"))["body"] == []
    assert site.ask(wire.SetZvolAttrs("empty", (("persistent", "no"),)))["body"]["persistent"] is False


@pytest.mark.parametrize("is_complete", [True, False])
def test_what_the_volume_says_of_its_import_holds(site: DrivenSite, is_complete: bool) -> None:
    """Though the daemon was killed behind the mark on the volume, or one without such records was before it."""
    made = site.ask(wire.AddZvol("tank", ZVOL, 2**20, importing=True))
    assert "its import is not complete" in site.row(ZVOL)["reason"]
    if is_complete:
        site.nas.pools.ensure_properties(f"tank/{ZVOL}", made["guid"], {IMPORTING: "no"})
    else:
        site.nas.service._engine.set_importing(ZVOL, False)
    site.nas.die()
    site.nas.start()
    assert bool(site.row(ZVOL)["reason"]) != is_complete


def test_the_period_of_pulls_is_an_attribute_of_a_new_nas(site: DrivenSite) -> None:
    """The one that holds, also after it was cleared or removed."""
    default = {"frequency": "300"}
    assert site.ask(wire.GetAttrs())["attrs"] == default
    assert site.ask(wire.SetAttrs((("frequency", "60"),)))["attrs"] == {"frequency": "60"}
    assert site.ask(wire.SetAttrs((("frequency", None),)))["attrs"] == default
    assert site.ask(wire.DelAttrs(("frequency",)))["attrs"] == default


def test_clones_share_blocks_with_their_origin(site: DrivenSite) -> None:
    """Clones of the current content or of a snapshot; the origin cannot be destroyed, nor cloned while it is mapped."""
    site.ask(wire.AddZvol("tank", ZVOL, 2**20))
    site.nas.pools.write(f"tank/{ZVOL}", b"gold", 4096)
    site.ask(wire.AddZvol("tank", "vm-a-vol", origin=ZVOL))
    assert site.nas.pools.read("tank/vm-a-vol", 4, 4096) == b"gold"
    fact = site.nas.pools.read_volume("tank/vm-a-vol")
    assert fact is not None and (fact.origin or "").startswith(f"tank/{ZVOL}@tmpclone-vm-a-vol-")
    site.map_local(ZVOL)
    with pytest.raises(StateError, match="is mapped to"):
        site.ask(wire.AddZvol("tank", "vm-b-vol", origin=ZVOL))
    site.unmap(ZVOL)
    with pytest.raises(StateError, match="clone"):
        site.ask(wire.DelZvol("tank", ZVOL))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (wire.AddZvol("nopool", "a", 2**20), "nopool"),
        (wire.AddZvol("tank", "a"), "needs a size"),
        (wire.AddZvol("tank", "a b", 2**20), "a b"),
        (wire.AddZvol("tank", "a", origin="nothing"), "tank/nothing"),
        (wire.AddZvol("tank", "a", origin=f"{ZVOL}@nothing"), "no snapshot nothing"),
    ],
)
def test_invalid_requests_make_no_volume(site: DrivenSite, request_: wire.AddZvol, message: str) -> None:
    site.ask(wire.AddZvol("tank", ZVOL, 2**20))
    with pytest.raises((StateError, UserError), match=message):
        site.ask(request_)
    assert [fact.name for fact in site.nas.pools.list_volumes("tank")] == [f"tank/{ZVOL}"]


# A daemon dies between any two of its changes; its successor, on the same disks, completes every life of an image.


NewSite = Callable[[], DrivenSite]
pytestmark = pytest.mark.moments
STEP = moments_step(47)
"""`make test-random` tries every moment; other runs try some, at least two of each life."""

DEATHS = [
    *((life, victim, False) for life in LIVES for victim in (NAS, HOST)),
    *((copied, victim, True) for victim in (NAS, HOST)),
    (moved, OTHER_NAS, False),
]


@pytest.mark.parametrize(
    ("life", "victim", "loses_power"),
    DEATHS,
    ids=[f"{life.__name__}-{victim}{'-power' * power}" for life, victim, power in DEATHS],
)
def test_a_death_at_any_moment(
    new_site: NewSite,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    life: Callable[[DrivenSite, Path], None],
    victim: str,
    loses_power: bool,
) -> None:
    """The life ends as it does without a death, and no daemon logs an internal error."""
    die_at, step, deaths = 0, STEP, 0
    while True:
        site = new_site()
        site.start()
        node = site.nodes[victim]
        node.die()
        node.die_at, node.loses_power, node.deaths = die_at, loses_power, 0
        site.start()
        life(site, tmp_path)
        if die_at == 0:
            step = min(STEP, node.moments.count // 2)
        elif node.deaths == 0:
            break
        deaths += node.deaths
        die_at += step
    assert deaths > 0
    assert "please report this" not in caplog.text and "Traceback" not in caplog.text
