"""A map: the copy that a host has already, the switch, the size, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from rocks.core.errors import RocksError, StateError, ToolError
from rocks.core.values import BYTES_PER_GIB, BYTES_PER_SECTOR
from rocks.storage.wire import requests as wire
from rocks.storage.wire.messages import VERSION
from tests.fakes.zfs import Pool
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.nodes import HOST, NAS, OTHER_HOST, OTHER_NAS

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
