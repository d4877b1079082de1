"""A map: the copy that a host has already, the switch, the size, and what it refuses."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any

import pytest

from rocks.core.errors import IncoherentError, RocksError, StateError, ToolError
from rocks.core.values import BYTES_PER_GIB, BYTES_PER_SECTOR
from rocks.storage.host.copies import RETURN
from rocks.storage.image.events import Abandon
from rocks.storage.stream.frames import Opening, receive_line, write_opening
from rocks.storage.wire import requests as wire
from rocks.storage.wire.messages import VERSION
from tests.fakes.zfs import Pool
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.nodes import HOST, NAS, OTHER_HOST, OTHER_NAS
from tests.unit.storage.memory_nodes import HalvingWriter

pytestmark = pytest.mark.usefixtures("nothing_left")


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


MAP = {"action": "map_zvol", "zpool": "tank", "zvol": "f14-vol", "remotehost": HOST, "size": 1, "sync": False}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"action": "map_zvol", "zpool": "tank", "zvol": "f14-vol"}, "remotehost"),
        (MAP, "^no initiator name$"),
        ({**MAP, "initiator": ""}, "^no initiator name$"),
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


def test_a_listing_says_what_to_run_for_a_device_without_a_record(site: DrivenSite) -> None:
    """Also for one whose record is of the time before."""
    host = site.map_local("lost-vol")
    records = host.service._store
    copy = records.copy("lost-vol")
    for lose, nas in (
        (lambda: records.keep(copy._replace(known=replace(copy.known, stage="none"))), NAS),
        (lambda: records.change("DELETE FROM copies WHERE zvol = 'lost-vol'"), "NAS"),
    ):
        lose()
        note = site.ask(wire.ListDevices(), HOST)["body"]["lost-vol"]["note"]
        assert (
            f"rocks clean host storagemap {nas} lost-vol;" in note and "dmsetup remove lost-vol-snap" in note
        )
    records.keep(copy)
    assert site.ask(wire.ListDevices(), HOST)["body"]["lost-vol"]["note"] is None
    site.unmap("lost-vol")


def test_a_listing_says_whether_a_guest_uses_the_device(site: DrivenSite) -> None:
    host = site.map_local("used-vol")

    def in_use() -> object:
        return site.ask(wire.ListDevices(), HOST)["body"]["used-vol"]["in_use"]

    device = host.kernel.devices["used-vol-snap"]
    assert in_use() is False
    device.holders = 1
    assert in_use() is True
    device.holders = 0
    site.unmap("used-vol")


def test_a_listing_says_whether_a_guest_uses_the_disk_on_its_nas(site: DrivenSite) -> None:
    """Of an image that is not copied to the host, which is the default."""
    site.map("far-vol", sync=False)
    sessions = site.hosts[HOST].sessions

    def in_use() -> object:
        return site.ask(wire.ListDevices(), HOST)["body"]["far-vol"]["in_use"]

    (session,) = sessions.read_sessions()
    assert in_use() is False
    sessions.users[session.device_path] = "process 7 (qemu)"
    assert in_use() is True
    host, target = site.hosts[HOST], site.row("far-vol")["iscsi_target"]
    backup = host.store.read_bytes()
    host.die()
    host.forget_records()
    host.start()
    (row,) = site.ask(wire.ListDevices(), HOST)["body"].values()
    assert (row["target"], row["in_use"]) == (target, True), (
        "without its records, the host sees the session alone"
    )
    host.die()
    host.store.write_bytes(backup)
    host.start()
    sessions.users.clear()
    site.unmap("far-vol")


def test_f17_a_listing_of_a_host_that_has_lost_a_device(site: DrivenSite) -> None:
    """The device was removed by hand: the others are listed."""
    host = site.map_local("f17-vol")
    site.map_local("f17-other-vol")
    lost = host.kernel.devices.pop("f17-other-vol-snap")
    assert list(site.ask(wire.ListDevices(), HOST)["body"]) == ["f17-vol"]
    host.kernel.devices["f17-other-vol-snap"] = lost
    for zvol in ("f17-vol", "f17-other-vol"):
        site.unmap(zvol)


# One name is one image of a NAS, in one pool.


ZVOL = "golden-vol"


@pytest.mark.parametrize("is_mapped", [False, True])
def test_a_name_of_another_pool_is_refused_to_a_new_image(site: DrivenSite, is_mapped: bool) -> None:
    """The image keeps its volume: it can be mapped and removed, and no volume without a record is left."""
    pools = site.nas.pools
    pools.fake.pools["data"] = Pool("data", 100 * BYTES_PER_GIB)
    site.ask(wire.AddZvol("tank", ZVOL, BYTES_PER_GIB))
    if is_mapped:
        site.map_local(ZVOL)
        site.unmap(ZVOL)
    with pytest.raises(StateError, match=f"{ZVOL} is in the pool tank of nas-0-0, not in data"):
        site.ask(wire.AddZvol("data", ZVOL, BYTES_PER_GIB, importing=True))
    assert pools.read_volume(f"data/{ZVOL}") is None
    site.map_local(ZVOL)
    site.unmap(ZVOL)
    site.ask(wire.DelZvol("tank", ZVOL))
    site.wait_for(lambda: pools.read_volume(f"tank/{ZVOL}") is None, "destroyed")
    site.ask(wire.AddZvol("data", ZVOL, BYTES_PER_GIB))
    assert site.image(ZVOL).pool == "data"


@pytest.mark.parametrize("other", ["Golden-vol", "golden-5fvol"])
def test_no_two_images_of_a_nas_have_one_iscsi_target(site: DrivenSite, other: str) -> None:
    """The end of a map of the one would remove the export of the other, whose guest would hang."""
    first = other.replace("-5f", "_").lower()
    site.map(first, sync=False)
    (export,) = site.nas.targets.read_exports()
    text = f"ZVol {other} would have the same iSCSI target as ZVol {first} on {NAS}"
    for make in (
        lambda: site.map(other, OTHER_HOST, sync=False),
        lambda: site.ask(wire.AddZvol("tank", other, BYTES_PER_GIB)),
        lambda: site.ask(wire.AcceptZvol("tank", other, OTHER_NAS, "7", 0)),
    ):
        with pytest.raises(StateError, match=text):
            make()
    (refused,) = site.ask(wire.CloneZvols("tank", (wire.NewClone(other, f"{first}@x", 0),)))["refused"]
    assert text in refused["reason"] and site.image(other) is None
    assert site.nas.targets.read_exports() == (export,)
    site.unmap(first)


def test_images_that_share_an_iscsi_target_already_are_used_as_before(site: DrivenSite) -> None:
    """An earlier release has made them: one at a time."""
    for zvol in (ZVOL, "Golden-vol"):
        site.nas.pools.ensure_volume(f"tank/{zvol}", BYTES_PER_GIB, 16384)
        site.map_local(zvol)
        site.unmap(zvol)
        image = site.image(zvol)
        assert image is not None and image.state == "unmapped"


# A host whose image was given up and mapped elsewhere.


def test_f7_a_stale_host_may_send_nothing(site: DrivenSite) -> None:
    """The image was given up and mapped elsewhere; its old host, which is back, is rejected, and its copy stays."""
    host = site.map_local("f7-vol")
    host.pools.write("tank/f7-vol", b"never seen", 4096)
    image = site.image("f7-vol")
    site.given_up.add("f7-vol")
    site.ask(wire.AbandonZvol("f7-vol", "its host has burned"))
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


def test_what_arrives_while_its_image_is_given_up_does_not_stay(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The NAS looks for a partial receive when the next part of the stream was let in, and is not stored yet."""
    host = site.map_local("late-vol")
    host.pools.write("tank/late-vol", os.urandom(6_000_000), 4096)
    image, receive, given_up = site.image("late-vol"), site.nas.pools.start_receive, list[str]()

    def give_up() -> None:
        if not given_up:
            given_up.append("late-vol")
            event = Abandon("give-up", "its host has burned")
            assert site.nas.service._engine.take(image.image_id, event) is None
            site.nas.jobs.perform()
            assert site.state("late-vol") == "unmapped"

    def start(spec: Any) -> Any:
        program = receive(spec)
        program.stream = HalvingWriter(program.stream, give_up)
        return program

    monkeypatch.setattr(site.nas.pools, "start_receive", start)
    site.given_up.add("late-vol")
    site.send(wire.PullZvol("late-vol"))
    site.wait_for(lambda: bool(given_up), "a pull")
    volume = site.nas.pools.read_volume("tank/late-vol")
    assert volume is not None and volume.resume_token is None
    site.map_local("late-vol", HOST)
    site.unmap("late-vol")


def test_an_image_that_was_given_up_before_its_pull_was_accepted_can_be_unmapped(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The NAS has verified the snapshot and not recorded it: the name of the base stays with its guid."""

    def fail(*values: object) -> None:
        raise IncoherentError("not expected")

    host = site.map_local("late-vol")
    host.pools.write("tank/late-vol", b"later", 4096)
    with monkeypatch.context() as patch:
        patch.setattr(site.nas.pools, "ensure_hold", fail)
        site.send(wire.PullZvol("late-vol"))
        site.wait_for_state("late-vol", "blocked")
    site.given_up.add("late-vol")
    site.ask(wire.AbandonZvol("late-vol", "its host has burned"))
    site.map("late-vol", HOST, sync=False)
    site.unmap("late-vol")
    assert site.nas.pools.read("tank/late-vol", 5, 4096) == b"later"
