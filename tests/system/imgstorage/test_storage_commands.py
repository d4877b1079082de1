"""Commands of image storage, typed as an operator types them, against real daemons."""

import math
import re
import sys
import threading
from dataclasses import replace

import pytest

from rocks.core.clock import utc_now
from rocks.storage.bus import Asker
from rocks.storage.client import asking
from rocks.storage.image.events import Contradicted
from rocks.storage.image.image import Copy
from rocks.storage.wire import requests as wire
from tests.patience import patience
from tests.system.imgstorage.image_site import NAS
from tests.system.imgstorage.storage_site import ADD, HOST, OTHER, REMOVE, Storage, interrupt
from tests.waiting import wait_until

LIST = ("list", "host", "storagemap", NAS)


def row(storage: Storage, volume: str) -> list[str]:
    lines = storage.done(*LIST, "output-header=no").splitlines()
    return next(line.split() for line in lines if line.split()[0] == volume)


# --- map, list, unmap ----------------------------------------------------------------------------------------------


def test_map_prints_the_mapping_and_then_the_device(storage: Storage) -> None:
    out = storage.done(*ADD, "first-vol", HOST, "1024M", "img_sync=yes", "remotepool=tank")
    assert out == f"{NAS}:tank/first-vol mapped to {HOST}\n/dev/mapper/first-vol-snap\n"
    storage.images.wait_for_state("first-vol", "local")
    assert storage.done(*ADD, "first-vol", HOST, "1", "img_sync=yes", "remotepool=tank") == out, "already so"
    assert storage.done(*REMOVE, "first-vol") == f"{NAS}:first-vol unmapped\nSuccess\n"
    assert storage.images.leftovers(HOST) == []
    assert row(storage, "first-vol")[5] == "unmapped"


def test_arguments_may_be_given_by_name(storage: Storage) -> None:
    named = ("nas=nas-0-0", "zpool=tank", "volume=named-vol", f"remotehost={HOST}", "size=1G", "img_sync=no")
    assert storage.done("add", "host", "storagemap", *named).splitlines()[0].endswith(f"mapped to {HOST}")
    assert "named-vol" in storage.done("list", "host", "storagemap", f"nas={NAS}")
    storage.done("remove", "host", "storagemap", "volume=named-vol", f"nas={NAS}")


def test_img_sync_defaults_to_the_hosts_attribute(storage: Storage) -> None:
    storage.done("set", "host", "attr", HOST, "img_sync", "true")
    assert "remotepool=POOL" in storage.refused(*ADD, "asked-vol", HOST, "1")
    storage.done(*ADD, "asked-vol", HOST, "1", "remotepool=tank")
    storage.images.wait_for_state("asked-vol", "local")
    storage.done(*REMOVE, "asked-vol")
    storage.done("set", "host", "attr", HOST, "img_sync", "false")
    storage.done(*ADD, "asked-vol", HOST, "1")
    assert storage.images.row("asked-vol")["state"] == "remote"
    storage.done(*REMOVE, "asked-vol")


def test_changes_are_written_back_on_request(storage: Storage) -> None:
    storage.map("pulled-vol")
    before = len(storage.done("list", "host", "storagesnap", NAS, "pulled-vol").splitlines())
    storage.images.hosts[HOST].pools.write("tank/pulled-vol", b"now", 4096)
    assert storage.done("sync", "host", "storagemap", NAS, "pulled-vol").endswith("\nSuccess\n")
    assert storage.images.nas.pools.read("tank/pulled-vol", 3, 4096) == b"now"
    assert len(storage.done("list", "host", "storagesnap", NAS, "pulled-vol").splitlines()) == before + 1
    storage.done(*REMOVE, "pulled-vol")
    assert "has no changes on a host to pull" in storage.refused(
        "sync", "host", "storagemap", NAS, "pulled-vol"
    )


def test_snapshots_are_listed_and_restored(storage: Storage) -> None:
    storage.map("restored-vol")
    host = storage.images.hosts[HOST]
    host.pools.write("tank/restored-vol", b"good", 4096)
    storage.done("sync", "host", "storagemap", NAS, "restored-vol")
    listed = storage.done("list", "host", "storagesnap", NAS, "restored-vol", "output-header=no").splitlines()
    good = listed[-1].split()[0]
    host.pools.write("tank/restored-vol", b"evil", 4096)
    storage.done(*REMOVE, "restored-vol")
    assert storage.images.nas.pools.read("tank/restored-vol", 4, 4096) == b"evil"
    out = storage.done("list", "host", "storagesnap", NAS, "restored-vol")
    assert out.splitlines()[0].split() == ["NAME", "GUID", "CREATED", "REFERENCED", "WRITTEN", "HOLDS"]
    done = storage.done("restore", "host", "storageimg", NAS, "restored-vol", f"snap={good}")
    assert done == f"{NAS}:restored-vol is as in {good}\nSuccess\n"
    assert storage.images.nas.pools.read("tank/restored-vol", 4, 4096) == b"good"


def test_a_destroyed_image_is_gone(storage: Storage) -> None:
    remove = ("remove", "host", "storageimg", NAS, "tank", "doomed-vol")
    storage.map("doomed-vol")
    assert "is mapped" in storage.refused(*remove)
    storage.done(*REMOVE, "doomed-vol")
    storage.done("set", "host", "zvolattr", NAS, "doomed-vol", "frequency", "77")
    assert storage.done(*remove, "now=yes") == f"{NAS}:tank/doomed-vol destroyed\nSuccess\n"
    assert storage.images.nas.pools.read_volume("tank/doomed-vol") is None
    assert "ZVol doomed-vol not found in database" in storage.refused(*remove)
    assert "doomed-vol" not in storage.done(*LIST)


def test_an_unfinished_import_is_restored_as_one(storage: Storage) -> None:
    storage.images.ask(wire.AddZvol("tank", "half-vol", 2**20, importing=True))
    (row,) = (line for line in storage.done(*LIST).splitlines() if "half-vol" in line)
    assert row.endswith("its import is not complete; wait for it, or repeat `rocks add host storageimg`")
    storage.done("remove", "host", "storageimg", NAS, "tank", "half-vol")
    done = storage.done("restore", "host", "storageimg", NAS, "half-vol")
    assert done.startswith(f"{NAS}:half-vol restored, but its import is not complete; ")


def test_a_removed_image_is_restored_until_its_grace_has_ended(storage: Storage) -> None:
    """It is listed with its time; nothing of its name is mapped or made, and no clone of it, meanwhile."""
    remove = ("remove", "host", "storageimg", NAS, "tank", "graced-vol")
    restore = ("restore", "host", "storageimg", NAS, "graced-vol")
    storage.map("graced-vol")
    storage.images.hosts[HOST].pools.write("tank/graced-vol", b"the old data", 4096)
    storage.done(*REMOVE, "graced-vol")
    assert "is not marked for destruction" in storage.refused(*restore)
    hint = f"removed; for 24 hours rocks restore host storageimg {NAS} graced-vol restores it"
    assert storage.done(*remove) == f"{NAS}:tank/graced-vol {hint}\nSuccess\n"
    listed = next(line for line in storage.done(*LIST).splitlines() if line.startswith("graced-vol"))
    assert re.search(r" deleting .* removed, can be restored until \d{4}-\d\d-\d\d \d\d:\d\d", listed)
    add_clone = ("add", "host", "storageimg", NAS, "tank", "heir-vol", "origin=graced-vol")
    add_empty = ("add", "host", "storageimg", NAS, "tank", "graced-vol", "size=1")
    for command in ((*ADD, "graced-vol", HOST, "1"), add_empty, add_clone):
        assert "graced-vol was removed and is in its grace period" in storage.refused(*command)
    assert "it is marked for destruction" in storage.refused(*remove)
    assert storage.done(*restore) == f"{NAS}:graced-vol restored\nSuccess\n"
    assert storage.images.nas.pools.read("tank/graced-vol", 12, 4096) == b"the old data"
    storage.done(*remove)
    assert storage.done(*remove, "now=yes") == f"{NAS}:tank/graced-vol destroyed\nSuccess\n"
    assert storage.images.nas.pools.read_volume("tank/graced-vol") is None
    storage.map("graced-vol")
    assert storage.images.nas.pools.read("tank/graced-vol", 12, 4096) == bytes(12)
    storage.done(*REMOVE, "graced-vol")
    storage.done(*remove, "now=yes")


def test_period_of_grace_is_an_attribute_of_the_nas(storage: Storage) -> None:
    """A removal under a wrong value removes nothing; 0 destroys at once."""
    remove = ("remove", "host", "storageimg", NAS, "tank", "brief-vol")
    storage.map("brief-vol")
    storage.done(*REMOVE, "brief-vol")
    storage.cluster.set_as_before("img_grace_hours", "a day", NAS)
    assert "the attribute img_grace_hours of nas-0-0 is 'a day'; set hours, 0 to" in storage.refused(*remove)
    assert storage.images.row("brief-vol")["state"] == "unmapped"
    storage.done("set", "host", "attr", NAS, "img_grace_hours", "0")
    assert storage.done(*remove) == f"{NAS}:tank/brief-vol destroyed\nSuccess\n"
    storage.done("remove", "host", "attr", NAS, "img_grace_hours")


def test_copies_of_a_host_are_listed_and_removed(storage: Storage) -> None:
    """A quarantined volume that no NAS can prove needs force."""
    pools = storage.images.hosts[HOST].pools
    pools.ensure_volume("tank/lost-vol-quarantine-7", 2**30, 16384)
    listing = ("list", "host", "storagecopy", HOST)
    remove = ("remove", "host", "storagecopy", HOST, "tank/lost-vol-quarantine-7")
    header, *rows = storage.done(*listing).splitlines()
    assert header.split() == ["VOLUME", "KIND", "NAS", "SIZE", "(GB)", "AGE", "REASON"]
    assert any(re.match("tank/lost-vol-quarantine-7 +quarantined ", row) for row in rows)
    assert "its NAS is unknown and does not confirm that it has all of it" in storage.refused(*remove)
    assert storage.done(*remove, "force=yes") == f"{HOST}:tank/lost-vol-quarantine-7 destroyed\nSuccess\n"
    assert "lost-vol-quarantine-7" not in storage.done(*listing)
    assert "no unused copy" in storage.refused(*remove)


# --- attributes ----------------------------------------------------------------------------------------------------


def test_attributes_of_a_nas(storage: Storage) -> None:
    assert storage.done("set", "host", "storageattr", NAS, "uploadspeed", "20m") == ""
    storage.done("set", "host", "storageattr", NAS, "site-tool", "a b'\"<c>")
    storage.done("set", "host", "storageattr", NAS, "frequency", "None")
    lines = storage.done("list", "host", "storageattr", NAS).splitlines()
    assert lines[0].split() == ["ATTR", "VALUE"]
    found = dict(line.split(None, 1) for line in lines[1:])
    assert found["uploadspeed"].strip() == "20M" and found["site-tool"].strip() == "a b'\"<c>"
    assert found["frequency"].strip() == "300"
    assert storage.done("remove", "host", "storageattr", NAS, "site-tool") == ""
    assert "site-tool" not in storage.done("list", "host", "storageattr", NAS)
    assert 'has no attribute "site-tool"' in storage.refused(
        "remove", "host", "storageattr", NAS, "site-tool"
    )


def test_attributes_of_an_image(storage: Storage) -> None:
    storage.map("set-vol")
    storage.done(*REMOVE, "set-vol")
    for name, value in (("frequency", "600"), ("uploadspeed", "500k"), ("persistent", "no")):
        assert storage.done("set", "host", "zvolattr", NAS, "set-vol", name, value) == ""
    expected = [
        ["ZVOL", "FREQUENCY", "NEXTSYNC", "UPLOADSPEED", "DOWNLOADSPEED", "PERSISTENT"],
        ["set-vol", "600", "-" * 8, "500K", "-" * 13, "no"],
    ]

    def listed() -> list[list[str]]:
        return [
            line.split() for line in storage.done("list", "host", "zvolattr", NAS, "set-vol").splitlines()
        ]

    # The NAS's scheduler may have planned a transfer while the image was removed; its next round takes that back.
    wait_until(lambda: listed() == expected, listed)
    storage.done("set", "host", "zvolattr", NAS, "set-vol", "frequency", "NONE")
    storage.done("set", "host", "zvolattr", NAS, "set-vol", "persistent", "none")
    assert storage.done("list", "host", "zvolattr", NAS, "set-vol", "output-header=no").split()[1::4] == [
        "-" * 9,
        "yes",
    ]


# --- what is under way ---------------------------------------------------------------------------------------------


def test_operations_are_listed_and_a_command_that_does_not_wait_names_the_list(storage: Storage) -> None:
    """The host's daemon is away, so the image cannot be written back."""
    storage.map("slow-vol")
    with storage.images.hosts[HOST].away():
        message = storage.refused(*REMOVE, "slow-vol", "timeout=1")
        number = message.split("operation ")[1].split()[0]
        assert message == (
            f"{NAS} has not answered within 1 s; operation {number} may continue there: "
            f"rocks list host storageop {NAS}"
        )
        listed = storage.done("list", "host", "storageop", NAS)
        header, line = listed.splitlines()
        assert header.split() == [
            "OP",
            "IMAGE",
            "HOST",
            "PHASE",
            "PERCENT",
            "BYTES",
            "RATE",
            "ETA",
            "ACTION",
            "REASON",
        ]
        assert line.split()[:4] == [number, "slow-vol", HOST, "returning"]
        assert row(storage, "slow-vol")[5] == "NAS<-VM"
        assert row(storage, "slow-vol")[8] == "True"
        asked = storage.images.row("slow-vol")["time"]
        storage.images.wait_for(lambda: utc_now().timestamp() >= asked + 2, "a later second")
        assert storage.images.row("slow-vol")["time"] == asked, "since it was queued"
        assert "is busy" in storage.refused(*ADD, "slow-vol", OTHER, "1", "img_sync=no")
        assert "is busy" in storage.refused("clean", "host", "storagemap", NAS, "slow-vol")
    storage.images.wait_for_state("slow-vol", "unmapped")
    assert storage.done("list", "host", "storageop", NAS) == ""


def test_a_host_that_is_silent_gets_nothing(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = patience(1)  # in which those that are not silent answer
    monkeypatch.setattr(asking, "QUICK_SECONDS", seconds)
    with storage.images.hosts[OTHER].away():
        message = storage.refused(*ADD, "silent-vol", OTHER, "1", "img_sync=no")
        assert (
            message == f"{OTHER} has not answered within {seconds:g} s: check that image storage runs there"
        )


def test_cancel_of_an_idle_image_is_an_error(storage: Storage) -> None:
    arguments = ("cancel", "host", "storagemap", NAS)
    assert "not found in database" in storage.refused(*arguments, "idle-map-vol")
    storage.done(*ADD, "idle-map-vol", OTHER, "1", "img_sync=no")
    assert "has nothing that can be cancelled" in storage.refused(*arguments, "idle-map-vol")
    storage.done(*REMOVE, "idle-map-vol")


def test_an_interrupt_ends_the_waiting_and_names_the_list(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.map("left-vol")
    with monkeypatch.context() as patch:
        patch.setattr(Asker, "ask_all", interrupt)
        ended = storage.rocks(*REMOVE, "left-vol")
    assert ended.status == 130 and ended.out == ""
    assert f"{NAS} continues with left-vol, operation " in ended.err
    assert f"rocks list host storageop {NAS}" in ended.err
    storage.done(*REMOVE, "left-vol")


def test_progress_is_printed_at_a_terminal(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The waiting command asks the NAS how far it is, and wipes its line away at the end."""
    storage.map("shown-vol")
    monkeypatch.setattr(asking, "_LOOK_SECONDS", 0.2)
    seconds = math.ceil(patience(2))
    service = storage.images.hosts[HOST].service
    service.close()
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda _: True, raising=False)
    try:
        ended = storage.rocks(*REMOVE, "shown-vol", f"timeout={seconds}")
    finally:
        storage.images.hosts[HOST].start()
    lines = ended.err.split("\r\033[K")
    assert "shown-vol: returning" in lines
    assert f"has not answered within {seconds} s" in lines[-1]
    storage.images.wait_for_state("shown-vol", "unmapped")


# --- clean ---------------------------------------------------------------------------------------------------------


def test_clean_writes_an_idle_image_back_with_its_changes(storage: Storage) -> None:
    storage.map("idle-vol")
    storage.images.hosts[HOST].pools.write("tank/idle-vol", b"kept", 4096)
    out = storage.done("clean", "host", "storagemap", NAS, "idle-vol", "nodetype=vmc")
    assert out == f"{NAS}:idle-vol is unmapped from {HOST}, with all its changes\nSuccess\n"
    assert storage.images.nas.pools.read("tank/idle-vol", 4, 4096) == b"kept"
    assert "is not mapped" in storage.refused("clean", "host", "storagemap", NAS, "idle-vol")


def test_clean_waits_for_a_periodic_transfer(storage: Storage) -> None:
    """As an unmap does: the way to the host and the last way back alone refuse it."""
    storage.map("pulling-vol")
    host = storage.images.hosts[HOST]
    host.pools.write("tank/pulling-vol", b"kept", 4096)
    returns = threading.Timer(1, host.start)
    host.service.close()
    try:
        storage.refused("sync", "host", "storagemap", NAS, "pulling-vol", "timeout=1")
        assert storage.images.row("pulling-vol")["state"] == "pulling"
    finally:
        returns.start()
    try:
        out = storage.done("clean", "host", "storagemap", NAS, "pulling-vol")
    finally:
        returns.join()
    assert out == f"{NAS}:pulling-vol is unmapped from {HOST}, with all its changes\nSuccess\n"
    assert storage.images.nas.pools.read("tank/pulling-vol", 4, 4096) == b"kept"


def test_only_an_operator_gives_changes_up(storage: Storage) -> None:
    """Held, because a snapshot that the NAS needs is gone; the image is then what the NAS has, under a new epoch."""
    clean = ("clean", "host", "storagemap", NAS, "lost-vol")
    storage.map("lost-vol")
    storage.images.hosts[HOST].pools.write("tank/lost-vol", b"only here", 4096)
    why = ("force=yes", "reason=its disks are broken")
    for arguments in (("force=yes",), ("reason=x",), ("force=yes", "reason= "), ("force=no", "reason=x")):
        assert "must be given together" in storage.refused(*clean, *arguments)
    hold(storage, "lost-vol")
    assert row(storage, "lost-vol")[5] == "blocked"
    again = storage.done(*clean)
    assert "was blocked (" in again and f"discards all changes on {HOST} after 20" in again
    hold(storage, "lost-vol")
    device = storage.images.hosts[HOST].kernel.devices["lost-vol-snap"]
    device.holders += 1
    for dry in ((), ("dry-run=yes",)):
        refused = storage.refused(*clean, *why, *dry)
        assert f"lost-vol stays on {HOST}, which answers: a program there uses the device" in refused
    assert row(storage, "lost-vol")[5] == "blocked"
    device.holders -= 1
    out = storage.done(*clean, *why)
    assert f"discarded: all changes on {HOST} after 20" in out and out.endswith("\nSuccess\n")
    assert row(storage, "lost-vol")[5] == "unmapped"
    assert storage.images.nas.pools.read("tank/lost-vol", 9, 4096) == bytes(9)
    assert storage.images.hosts[HOST].pools.read("tank/lost-vol", 9, 4096) == b"only here", (
        "quarantined, not destroyed"
    )


def test_changes_of_an_image_that_no_host_has_are_given_up(storage: Storage) -> None:
    """A host has reported them since; the answer names no host that would have the image."""
    clean = ("clean", "host", "storagemap", NAS, "found-vol")
    storage.map("found-vol")
    storage.done(*clean)
    service = storage.images.nas.service
    image = service._engine.image_of("found-vol")
    assert image is not None
    service._engine.add(replace(image, copies=(Copy(HOST, "tank", "dirty", "7"),)))
    out = storage.done(*clean, "force=yes", "reason=not needed")
    assert (
        out
        == f"{NAS}:found-vol has the content on the NAS; what hosts have of it besides is given up\nSuccess\n"
    )
    image = service._engine.image_of("found-vol")
    assert image is not None and [copy.kind for copy in image.copies] == ["suspect"]


def hold(storage: Storage, volume: str) -> None:
    """Have the NAS find that the volume contradicts its record."""
    service = storage.images.nas.service
    image = service._engine.image_of(volume)
    assert image is not None and image.owner is not None
    refusal = service._engine.take(image.image_id, Contradicted("the volume is newer"))
    assert refusal is None, refusal
    storage.images.wait_for_state(volume, "blocked")
