"""A map: the copy that a host has already, the switch, the size, and what it refuses."""

import json
from dataclasses import replace
from typing import Any

import pytest

from rocks.core.errors import RocksError, ToolError
from rocks.core.units import BYTES_PER_GIB, BYTES_PER_SECTOR
from rocks.storage.wire import requests as wire
from rocks.storage.wire.messages import VERSION
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.nodes import HOST, NAS

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
