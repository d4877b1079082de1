"""Records that a host has lost: made again from the properties of its volumes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from rocks.core.values import BYTES_PER_GIB
from rocks.storage.host.copies import CopyHandlers
from rocks.storage.host.engine import GrantedImage
from rocks.storage.host.lost_records import recover_records
from rocks.storage.image.effects import LookAtCopy
from rocks.storage.image.image import HostImage, Stage
from rocks.storage.image.names import target_name, unit_serial
from rocks.storage.image.space import temp_write_bytes
from rocks.storage.store.host import CopyRecord, HostStore
from rocks.storage.zfs import silent_pools
from rocks.storage.zfs.facts import VolumeFact
from tests.fakes.zfs import FakePools

ZVOL, NAS, ID = "vm-vol", "nas-0-0", "an-id"


@pytest.fixture
def pools() -> FakePools:
    return FakePools({"tank": 10 * BYTES_PER_GIB})


@pytest.fixture
def store(tmp_path: Path) -> HostStore:
    return HostStore(tmp_path / "host.db")


def properties(epoch: int, /, **more: str) -> dict[str, str]:
    """Those of a volume of the image on a host."""
    values = {"id": ID, "nas": NAS, "volume": f"tank/{ZVOL}", "epoch": str(epoch)} | more
    return {f"imgstore:{key}": value for key, value in values.items()}


def add_copy(pools: FakePools, epoch: int, pool: str = "tank", /, **more: str) -> None:
    """A copy with changes, unless `more` says another thing."""
    found = properties(epoch, **{"copy": "dirty", "base_guid": "7", **more})
    pools.ensure_volume(f"{pool}/{ZVOL}", BYTES_PER_GIB, 8192, 0, found)


def add_temp_write(pools: FakePools, epoch: int | None, pool: str = "tank", /, **more: str) -> None:
    """A temp-write volume; of an earlier release without an epoch."""
    found = {} if epoch is None else properties(epoch, size=str(BYTES_PER_GIB), **more)
    pools.ensure_volume(f"{pool}/{ZVOL}-temp-write", temp_write_bytes(BYTES_PER_GIB), 8192, 0, found)


def recovered(store: HostStore, pools: FakePools) -> HostImage | None:
    recover_records(store, pools, "tank")
    copy = store.copy(ZVOL)
    assert copy is None or (copy.details["nas"], copy.details["volume"]) == (NAS, f"tank/{ZVOL}")
    return None if copy is None else copy.known


OVERLAY = HostImage(
    ZVOL, "tank", 2, 2, 0, "overlay", target_name(NAS, ZVOL, 2), unit_serial(ID, 2), BYTES_PER_GIB
)


def test_a_temp_write_volume_names_its_image(store: HostStore, pools: FakePools) -> None:
    """Without a copy, and with one of an earlier grant, into which nothing may be merged."""
    add_temp_write(pools, 2)
    assert recovered(store, pools) == OVERLAY and store.copy(ZVOL).image_id == ID
    store.change("DELETE FROM copies WHERE zvol = ?", (ZVOL,))
    add_copy(pools, 1)
    assert recovered(store, pools) == OVERLAY


@pytest.mark.parametrize("other", ["data", "zeta"])
def test_an_image_in_another_pool_that_its_older_record_names_is_found(store: HostStore, other: str) -> None:
    """What an earlier grant left in the host's own pool does not count; of replicas that in the own pool does."""
    pools = FakePools({"tank": 10 * BYTES_PER_GIB, other: 10 * BYTES_PER_GIB})
    older = CopyRecord(ID, HostImage(ZVOL, other, 1, 1), {"nas": NAS, "volume": f"tank/{ZVOL}"})
    store.keep(older)
    add_temp_write(pools, 2, other)
    found = replace(OVERLAY, pool=other)
    assert recovered(store, pools) == found
    store.keep(older)
    add_copy(pools, 1)
    assert recovered(store, pools) == found
    store.keep(older)
    add_temp_write(pools, 2)
    assert recovered(store, pools) == OVERLAY


@pytest.mark.parametrize(
    ("stated_by_copy", "stated_by_temp_write", "is_found"),
    [
        ("data", "data", True),
        ("data", "", True),
        ("", "", False),
        ("tank", "tank", False),
        ("data", "tank", False),
    ],
)
def test_an_image_is_found_in_a_pool_that_no_record_names(
    store: HostStore, stated_by_copy: str, stated_by_temp_write: str, is_found: bool
) -> None:
    """When one of its volumes says that it was made there; a replica says another pool, and earlier releases none."""
    pools = FakePools({"tank": 10 * BYTES_PER_GIB, "data": 10 * BYTES_PER_GIB})
    add_copy(pools, 2, "data", **({"pool": stated_by_copy} if stated_by_copy else {}))
    add_temp_write(pools, 2, "data", **({"pool": stated_by_temp_write} if stated_by_temp_write else {}))
    found = recovered(store, pools)
    assert (found is not None) == is_found
    assert found is None or (found.stage, found.pool) == ("merging", "data")


def test_a_copy_that_names_its_pool_goes_before_one_of_an_earlier_release(store: HostStore) -> None:
    """That is a replica from before the upgrade: the copy has got its name since, in the same grant."""
    pools = FakePools({"tank": 10 * BYTES_PER_GIB, "data": 10 * BYTES_PER_GIB})
    add_copy(pools, 2)
    add_copy(pools, 2, "data", pool="data")
    found = recovered(store, pools)
    assert found is not None and found.pool == "data"


@pytest.mark.parametrize(
    ("stage", "left", "others", "expected"),
    [
        ("linear", None, {"data": {}}, "data"),
        ("merging", None, {"data": {"merged": unit_serial(ID, 2)}}, "data"),
        ("merging", None, {"data": {}}, "tank"),  # what was written last is not in it
        ("linear", None, {"data": {"pool": "data"}}, "data"),
        ("linear", None, {"data": {"pool": "tank"}}, "tank"),  # a replica
        ("linear", None, {"data": {}, "zeta": {}}, "tank"),  # nobody knows which
        ("linear", None, {"data": {"id": "of the same name"}}, "tank"),
        ("linear", None, {"data": {"epoch": "1"}}, "tank"),
        ("linear", None, {"data": {"copy": "clean"}}, "tank"),
        ("linear", "copy", {"data": {}}, "tank"),
        ("linear", "temp-write", {"data": {}}, "tank"),
        ("linear", "pool", {"data": {}}, "tank"),
        ("none", None, {"data": {}}, "tank"),
    ],
)
def test_a_copy_of_the_same_grant_counts_when_the_pool_of_the_record_has_none(
    store: HostStore,
    stage: Stage,
    left: str | None,
    others: dict[str, dict[str, str]],
    expected: str,
) -> None:
    """A replica was taken for it, and a person has removed that. A pool that cannot be read may have it."""
    pools = FakePools(dict.fromkeys(("tank", "data", "zeta"), 10 * BYTES_PER_GIB))
    known = HostImage(ZVOL, "tank", 2, 2, 5, stage, size_bytes=BYTES_PER_GIB)
    store.keep(CopyRecord(ID, known, {"nas": NAS, "volume": f"tank/{ZVOL}", "by_volume": 2}))
    for pool, more in others.items():
        add_copy(pools, 2, pool, **more)
    if left == "copy":
        add_copy(pools, 2)
    elif left == "temp-write":
        add_temp_write(pools, 2)
    elif left == "pool":
        pools.export_pool("tank")
    found = recovered(store, pools)
    assert found == replace(known, pool=expected, stage="linear" if expected == "data" else stage)


def test_a_pool_that_hangs_holds_the_start_for_a_limited_time(
    store: HostStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The images of the others are found meanwhile; a replica of it elsewhere is not taken for it under a new name."""
    pools = FakePools(dict.fromkeys(("a-foreign", "data", "tank"), 10 * BYTES_PER_GIB))
    add_copy(pools, 2, "data", pool="data")
    add_temp_write(pools, 2, "tank", pool="a-foreign")
    read, has_ended = pools.list_volumes, threading.Event()

    def read_or_hang(pool: str) -> tuple[VolumeFact, ...]:
        if pool == "a-foreign":
            assert has_ended.wait(30)
        return read(pool)

    monkeypatch.setattr(pools, "list_volumes", read_or_hang)
    monkeypatch.setattr(silent_pools, "READ_SECONDS", 0.5)
    found = recovered(store, pools)
    has_ended.set()
    assert found is not None and found.pool == "data"
    assert "in the pool a-foreign are not looked for: zfs has not answered within 0.5 s" in caplog.text
    assert "zpool export" not in caplog.text


@pytest.mark.parametrize("add", [add_copy, add_temp_write])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_pool_that_may_have_been_renamed_is_reported(
    store: HostStore, caplog: pytest.LogCaptureFixture, add: Callable[..., None], is_there: bool
) -> None:
    """It is not used, since it may be a replica, as it is for certain beside that pool."""
    pools = FakePools(dict.fromkeys(("tank", "former") if is_there else ("tank",), 10 * BYTES_PER_GIB))
    add(pools, 2, "tank", pool="former")
    assert recovered(store, pools) is None
    assert ("zpool export tank, zpool import tank former" in caplog.text) is not is_there


@pytest.mark.parametrize("by_volume", [None, 1])
@pytest.mark.parametrize(("stated", "expected"), [({}, "tank"), ({"pool": "data"}, "data")])
def test_a_record_of_requests_is_not_of_a_copy_that_names_no_pool(
    store: HostStore, by_volume: int | None, stated: dict[str, str], expected: str
) -> None:
    """Its pool was right: the copy may be a replica of one of an earlier release, with old content."""
    pools = FakePools(dict.fromkeys(("tank", "data"), 10 * BYTES_PER_GIB))
    known = HostImage(ZVOL, "tank", 2, 2, 5, "linear", size_bytes=BYTES_PER_GIB)
    store.keep(CopyRecord(ID, known, {"nas": NAS, "volume": f"tank/{ZVOL}", "by_volume": by_volume}))
    add_copy(pools, 2, "data", **stated)
    assert recovered(store, pools) == replace(known, pool=expected)


@pytest.mark.parametrize("epoch", [2, None])
def test_the_copy_of_the_same_grant_is_being_merged_into(
    store: HostStore, pools: FakePools, epoch: int | None
) -> None:
    add_copy(pools, 2)
    add_temp_write(pools, epoch)
    found = recovered(store, pools)
    assert found is not None and (found.stage, found.epoch, found.target) == ("merging", 2, None)


@pytest.mark.parametrize(
    ("stage", "epoch", "last_epoch", "copy", "temp_write", "expected"),
    [
        ("none", 1, 1, None, 2, "overlay"),
        ("none", 2, 2, None, 2, None),
        ("none", 3, 3, None, 2, None),
        ("none", 1, 1, 2, None, "linear"),
        ("none", 1, 2, 2, None, None),  # the copy is marked first, then the stage is recorded
        ("none", 2, 2, 2, None, None),  # it is to be written back
        ("linear", 1, 1, None, 2, "overlay"),
        ("linear", 1, 1, 1, 2, "overlay"),
        ("linear", 1, 1, 2, None, "linear"),
        ("linear", 2, 2, 2, None, None),
        ("linear", 2, 2, 2, 2, None),  # merged; the temp-write volume is destroyed next
        ("overlay", 2, 2, 1, 2, None),
        ("overlay", 2, 2, 2, 2, "merging"),
        ("overlay", 2, 2, 2, None, "linear"),
        ("merging", 2, 2, 2, 2, None),
        ("merging", 2, 2, 2, None, None),  # nobody knows whether the merge had ended
        ("remote", 1, 1, 2, 2, "merging"),
    ],
)
def test_an_older_record_is_replaced(
    store: HostStore,
    pools: FakePools,
    stage: Stage,
    epoch: int,
    last_epoch: int,
    copy: int | None,
    temp_write: int | None,
    expected: Stage | None,
) -> None:
    """One whose stage and grant the image had before its volumes became what they are."""
    if copy is not None:
        add_copy(pools, copy)
    if temp_write is not None:
        add_temp_write(pools, temp_write)
    known = HostImage(ZVOL, "tank", epoch, last_epoch, stage=stage)
    store.keep(CopyRecord(ID, known, {"nas": NAS, "volume": f"tank/{ZVOL}"}))
    found = recovered(store, pools)
    assert found is not None
    assert found == known if expected is None else (found.stage, found.epoch) == (expected, 2)


@pytest.mark.parametrize(
    ("merged", "temp_write", "expected"),
    [
        (unit_serial(ID, 2), None, "linear"),
        (unit_serial(ID, 2), 2, "merging"),
        (unit_serial(ID, 1), None, "merging"),
        (unit_serial("of the same name", 2), None, "merging"),
    ],
)
def test_a_merge_has_ended_when_the_copy_says_so(
    store: HostStore, pools: FakePools, merged: str, temp_write: int | None, expected: Stage
) -> None:
    """In this grant; the record of the time before would wait for the temp-write volume for ever."""
    add_copy(pools, 2, merged=merged)
    if temp_write is not None:
        add_temp_write(pools, temp_write)
    known = HostImage(ZVOL, "tank", 2, 2, 5, "merging", size_bytes=BYTES_PER_GIB)
    store.keep(CopyRecord(ID, known, {"nas": NAS, "volume": f"tank/{ZVOL}"}))
    found = recovered(store, pools)
    assert found is not None and (found.stage, found.epoch) == (expected, 2)
    assert expected == "linear" or found == known


@pytest.mark.parametrize(
    ("stage", "epoch", "copy", "temp_write", "is_over"),
    [
        ("linear", 2, 2, None, True),
        ("merging", 2, 3, None, True),
        ("overlay", 2, 3, None, True),
        ("overlay", 2, 2, None, False),  # a temp-write volume that is gone is a loss
        ("overlay", 2, 1, None, False),  # it is made next
        ("overlay", 2, 2, 2, False),
    ],
)
def test_no_device_is_made_of_an_image_that_was_written_back(
    store: HostStore,
    pools: FakePools,
    stage: Stage,
    epoch: int,
    copy: int,
    temp_write: int | None,
    is_over: bool,
) -> None:
    """Its copy is marked as clean only when it has no device any more."""
    add_copy(pools, copy, copy="clean")
    if temp_write is not None:
        add_temp_write(pools, temp_write)
    known = HostImage(ZVOL, "tank", epoch, epoch, 5, stage, "iqn.x", "serial", BYTES_PER_GIB)
    store.keep(CopyRecord(ID, known, {"nas": NAS, "volume": f"tank/{ZVOL}"}))
    expected = replace(known, stage="none", target=None, serial=None) if is_over else known
    if is_over and copy > epoch:  # an open request of the older record is refused
        expected = replace(expected, epoch=copy, last_epoch=copy, last_sequence=0)
    assert recovered(store, pools) == expected


def test_the_record_of_another_image_of_the_name_is_not_replaced(store: HostStore, pools: FakePools) -> None:
    add_temp_write(pools, 2)
    known = HostImage(ZVOL, "tank", 1)
    store.keep(CopyRecord("of the same name", known, {"nas": NAS, "volume": f"tank/{ZVOL}"}))
    assert recovered(store, pools) == known


def test_a_volume_in_quarantine_and_one_of_an_earlier_release_stay(
    store: HostStore, pools: FakePools
) -> None:
    """Nobody knows what the second is of: a map quarantines it."""
    add_temp_write(pools, 2)
    volume = pools.read_volume(f"tank/{ZVOL}-temp-write")
    assert volume is not None
    pools.ensure_renamed(volume.name, volume.guid, f"{volume.name}-quarantine-2")
    add_temp_write(pools, None)
    assert recovered(store, pools) is None


# What a host has of an image that it knows nothing of: kept under a name that nothing else has.


SIZE = 64 * 1024 * 1024


def test_a_record_that_is_lost_twice_gets_another_name_in_quarantine() -> None:
    """Both times what was written is seen, and kept; done again, nothing more happens."""
    pools = FakePools({"tank": 1024**3})
    handlers = CopyHandlers(pools, cast("Any", None), "vmh1").handlers
    image = GrantedImage(
        "1", 5, HostImage("vm-vol", "tank"), "nas-0-0", "tank/vm-vol", "127.0.0.1", 1, 2, None
    )
    for _ in range(3):
        pools.ensure_volume("tank/vm-vol-temp-write", SIZE, 8192)
        seen = handlers["ReadCopy"](LookAtCopy("vm-vol", "tank"), image).copy
        assert seen is not None and seen.has_temp_write and seen.stage == "none"
        for _ in range(2):
            handlers["EnsureQuarantined"](None, image)
    suffixes = [volume.name.removeprefix("tank/vm-vol-temp-write") for volume in pools.list_volumes("tank")]
    assert sorted(suffixes) == ["-quarantine-0", "-quarantine-0-2", "-quarantine-0-3"]
