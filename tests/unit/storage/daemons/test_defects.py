"""The defects of the published implementation (F1-F22), tried on the real daemons: none of them is possible.

`tests/unit/storage/test_defects.py` tests those that the state table decides; the others are tested here.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from rocks.core.errors import BusyError, IncoherentError, RocksError, StateError, ToolError
from rocks.core.units import BYTES_PER_GIB, BYTES_PER_SECTOR
from rocks.storage.host.transfers import RETURN
from rocks.storage.stream.lines import Opening, receive_line, write_opening
from rocks.storage.stream.pace import Bucket
from rocks.storage.wire import requests as wire
from rocks.storage.wire.messages import VERSION
from rocks.storage.zfs.driver import Transfer
from rocks.storage.zfs.facts import SendSpec
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.nodes import HOST, NAS, OTHER_HOST, Node


@pytest.fixture
def site(site: DrivenSite) -> Iterator[DrivenSite]:
    """Checks after each test that nothing is left behind."""
    yield site
    assert site.leftovers() == []


class Gate:
    """Until it is opened, everything that a node sends fails."""

    def __init__(self, node: Node, patch: pytest.MonkeyPatch) -> None:
        self.is_open = False
        self.attempts = 0
        send = node.pools.start_send

        def guarded(spec: SendSpec) -> Transfer:
            self.attempts += 1
            if not self.is_open:
                raise ToolError("zfs send: input/output error")
            return send(spec)

        patch.setattr(node.pools, "start_send", guarded)


# --- data loss -----------------------------------------------------------------------------------------------------


def test_f1_what_is_written_during_a_pull_is_written_back(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unmap comes while the pull sends an older snapshot; the last write still reaches the NAS."""
    host = site.map_local("f1-vol")
    host.pools.write("tank/f1-vol", b"first", 4096)
    send, unmaps = host.pools.start_send, list[str]()

    def sending(spec: SendSpec) -> Transfer:
        if not unmaps:
            host.pools.write("tank/f1-vol", b"after the pull's snapshot", 8192)
            unmaps.append(site.send(wire.UnmapZvol("f1-vol")))
        return send(spec)

    monkeypatch.setattr(host.pools, "start_send", sending)
    pull = site.send(wire.PullZvol("f1-vol"))
    site.wait_for(lambda: bool(unmaps), "a pull")
    assert site.state("f1-vol") == "pulling" and not site.has_answer(unmaps[0])
    site.answer(unmaps[0])
    assert site.has_answer(pull)
    assert site.nas.pools.read("tank/f1-vol", 25, 8192) == b"after the pull's snapshot"


def test_f2_f4_f22_a_return_that_fails_is_tried_again(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the image is written back, the copy stays, the host owns it and no success is reported."""
    host = site.map_local("f2-vol")
    host.pools.write("tank/f2-vol", b"only here", 4096)
    gate = Gate(host, monkeypatch)
    unmap = site.send(wire.UnmapZvol("f2-vol"))
    site.wait_for(lambda: gate.attempts == 3, "three attempts")
    assert not site.has_answer(unmap)
    image = site.image("f2-vol")
    assert (image.state, image.owner) == ("returning", HOST)
    assert host.pools.read("tank/f2-vol", 9, 4096) == b"only here"
    assert site.nas.pools.read("tank/f2-vol", 9, 4096) != b"only here"
    with pytest.raises(BusyError, match="f2-vol is busy"):
        site.map("f2-vol", OTHER_HOST)
    gate.is_open = True
    site.answer(unmap)
    assert site.nas.pools.read("tank/f2-vol", 9, 4096) == b"only here"


def test_f3_a_copy_on_a_host_is_quarantined_and_not_destroyed(site: DrivenSite) -> None:
    """The copy is a volume with the image's name, whose content the NAS has never received."""
    host = site.hosts[HOST]
    site.nas.pools.ensure_volume("tank/f3-vol", BYTES_PER_GIB, 16384)
    host.pools.ensure_volume("tank/f3-vol", BYTES_PER_GIB, 16384)
    host.pools.write("tank/f3-vol", b"somebody's work", 4096)
    site.map_local("f3-vol")
    quarantined = [fact.name for fact in host.pools.list_volumes("tank") if "f3-vol-" in fact.name]
    assert len(quarantined) == 1, quarantined
    assert host.pools.read(quarantined[0], 15, 4096) == b"somebody's work"
    site.unmap("f3-vol")


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


def test_f6_a_switch_that_fails_preserves_the_export(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The export stays as long as the guest may read from the NAS; a retry of the switch succeeds."""
    host = site.hosts[HOST]
    switch, failures = host.dm_devices.switch, [ToolError("device-mapper has a bad day")] * 2
    seen: list[int] = []

    def failing(name: str, *arguments: Any) -> Any:
        if failures and name.endswith("-origin"):
            seen.append(len(site.nas.targets.read_exports()))
            raise failures.pop()
        return switch(name, *arguments)

    monkeypatch.setattr(host.dm_devices, "switch", failing)
    site.map_local("f6-vol")
    assert seen == [1, 1]
    assert site.nas.targets.read_exports() == ()
    site.unmap("f6-vol")


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


def test_f8_the_size_is_the_volumes_own(site: DrivenSite) -> None:
    """The command requests 1 GB, the volume has 3: the device, the temp-write volume and the copy have 3, too."""
    site.nas.pools.ensure_volume("tank/f8-vol", 3 * BYTES_PER_GIB, 16384)
    host = site.hosts[HOST]
    gate_sizes: list[int] = []
    ensure = host.pools.ensure_volume

    def watched(name: str, size_bytes: int, *arguments: Any) -> Any:
        gate_sizes.append(size_bytes)
        return ensure(name, size_bytes, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host.pools, "ensure_volume", watched)
        site.map("f8-vol")
    site.wait_for_state("f8-vol", "local")
    (mapping,) = host.dm_devices.list()
    assert mapping.table.length_sectors * BYTES_PER_SECTOR == 3 * BYTES_PER_GIB
    assert gate_sizes and min(gate_sizes) > 3 * BYTES_PER_GIB
    copy = host.pools.read_volume("tank/f8-vol")
    assert copy is not None and copy.size_bytes == 3 * BYTES_PER_GIB
    site.unmap("f8-vol")


# --- dead ends and hangs -------------------------------------------------------------------------------------------


def test_f9_a_restart_of_both_daemons_strands_nothing(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They restart during the final return; no request follows."""
    host = site.map_local("f9-vol")
    host.pools.write("tank/f9-vol", b"on its way", 4096)
    gate = Gate(host, monkeypatch)
    unmap = site.send(wire.UnmapZvol("f9-vol"))
    site.wait_for(lambda: gate.attempts > 0, "an attempt")
    assert site.state("f9-vol") == "returning"
    for node in (site.nas, host):
        node.die()
        node.start()
    gate.is_open = True
    site.answer(unmap)
    assert site.nas.pools.read("tank/f9-vol", 10, 4096) == b"on its way"


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
    site.nas.service._housekeeping.look()
    after = [one.name for one in site.nas.pools.read_history("tank/f12-vol").snapshots]
    assert len(theirs) == 2 and theirs <= set(after)
    assert len(before) >= 9 and len(after) <= 6 and after[-3:] == before[-3:], "the last ones of ours stay"
    on_host = {one.name for one in host.pools.read_history("tank/f12-vol").snapshots} - theirs
    assert len(on_host) == 1, "of ours the host has its base alone"
    assert site.nas.pools.read("tank/f12-clone", 6, 0) == b"golden"


def test_f13_a_foreign_snapshot_on_the_nas_is_reported(site: DrivenSite) -> None:
    """Nothing is rolled back: the pull stops and names the snapshot; after its removal, all changes are written."""
    host = site.map_local("f13-vol")
    fact = site.nas.pools.read_volume("tank/f13-vol")
    made = site.nas.pools.ensure_snapshot("tank/f13-vol", fact.guid, "by-hand", {})
    host.pools.write("tank/f13-vol", b"goes on", 4096)
    with pytest.raises(IncoherentError, match="by-hand"):
        site.ask(wire.PullZvol("f13-vol"))
    row = site.row("f13-vol")
    assert row["state"] == "blocked" and "by-hand" in row["reason"]
    site.nas.pools.ensure_snapshot_gone("tank/f13-vol", made.name, made.guid)
    site.ask(wire.RetryZvol("f13-vol"))
    site.unmap("f13-vol")
    assert site.nas.pools.read("tank/f13-vol", 7, 4096) == b"goes on"


MAP = {"action": "map_zvol", "zpool": "tank", "zvol": "f14-vol", "remotehost": HOST, "size": 1, "sync": False}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"action": "map_zvol", "zpool": "tank", "zvol": "f14-vol"}, "remotehost"),
        ({**MAP, "initiator": ""}, "no initiator name"),
        ({**MAP, "initiator": "iqn.2024-01.org:x", "sync": True}, "remotepool"),
        ({"action": "unmap_zvol"}, "zvol"),
        ({"action": "unmap_zvol", "zvol": 7}, "zvol"),
        ({"action": "no_such_thing"}, "action_unsupported"),
    ],
)
def test_f14_an_incomplete_message_is_answered(
    site: DrivenSite, fields: dict[str, Any], message: str
) -> None:
    """The answer comes at once and names what is missing; nothing is created."""
    with pytest.raises(RocksError, match=message):
        site.answer(site.send_body(json.dumps({"v": VERSION, **fields}).encode()))
    assert not [row for row in site.rows() if row["zvol"] == "f14-vol"]


def test_f17_a_listing_of_a_host_that_has_lost_a_device(site: DrivenSite) -> None:
    """The device was removed by hand: the others are listed."""
    host = site.map_local("f17-vol")
    site.map_local("f17-other-vol")
    lost = host.dm_devices.devices.pop("f17-other-vol-snap")
    assert list(site.ask(wire.ListDevices(), HOST)["body"]) == ["f17-vol"]
    host.dm_devices.devices["f17-other-vol-snap"] = lost
    for zvol in ("f17-vol", "f17-other-vol"):
        site.unmap(zvol)


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


def test_f19_a_volume_can_be_destroyed_after_its_use(site: DrivenSite) -> None:
    """Nothing of the export stays, neither target nor backstore."""
    site.map_local("f19-vol")
    assert site.nas.targets.read_exports() == () and site.nas.targets.read_unused_backstores() == ()
    site.unmap("f19-vol")
    site.ask(wire.DelZvol("tank", "f19-vol"))
    site.wait_for(lambda: site.nas.pools.read_volume("tank/f19-vol") is None, "destroyed")
