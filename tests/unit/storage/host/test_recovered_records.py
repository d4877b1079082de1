"""Records that a host has lost: made again from the properties of its volumes."""

from pathlib import Path

import pytest

from rocks.core.units import BYTES_PER_GIB
from rocks.storage.host.copy_reports import recover_records
from rocks.storage.life.host_image import HostImage
from rocks.storage.life.names import target_name, unit_serial
from rocks.storage.life.temp_write import temp_write_bytes
from rocks.storage.store.host import CopyRecord, HostStore
from rocks.storage.zfs.fake.pools import FakePools

ZVOL, NAS, ID = "vm-vol", "nas-0-0", "an-id"


@pytest.fixture
def pools() -> FakePools:
    return FakePools({"tank": 10 * BYTES_PER_GIB})


@pytest.fixture
def store(tmp_path: Path) -> HostStore:
    return HostStore(tmp_path / "host.db")


def properties(epoch: int, **more: str) -> dict[str, str]:
    """Those of a volume of the image on a host."""
    values = {"id": ID, "nas": NAS, "volume": f"tank/{ZVOL}", "epoch": str(epoch), **more}
    return {f"imgstore:{key}": value for key, value in values.items()}


def add_copy(pools: FakePools, epoch: int) -> None:
    """A copy with changes."""
    found = properties(epoch, copy="dirty", base_guid="7")
    pools.ensure_volume(f"tank/{ZVOL}", BYTES_PER_GIB, 8192, 0, found)


def add_temp_write(pools: FakePools, epoch: int | None) -> None:
    """A temp-write volume; of an earlier release without an epoch."""
    found = {} if epoch is None else properties(epoch, size=str(BYTES_PER_GIB))
    pools.ensure_volume(f"tank/{ZVOL}-temp-write", temp_write_bytes(BYTES_PER_GIB), 8192, 0, found)


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
    store.forget(ZVOL)
    add_copy(pools, 1)
    assert recovered(store, pools) == OVERLAY


@pytest.mark.parametrize("epoch", [2, None])
def test_the_copy_of_the_same_grant_is_being_merged_into(
    store: HostStore, pools: FakePools, epoch: int | None
) -> None:
    add_copy(pools, 2)
    add_temp_write(pools, epoch)
    found = recovered(store, pools)
    assert found is not None and (found.stage, found.epoch, found.target) == ("merging", 2, None)


@pytest.mark.parametrize(
    ("image_id", "known", "is_replaced"),
    [
        (ID, HostImage(ZVOL, "tank", 1), True),
        (ID, HostImage(ZVOL, "tank", 2), False),
        (ID, HostImage(ZVOL, "tank", 3), False),
        (ID, HostImage(ZVOL, "tank", 1, stage="linear"), False),
        ("of the same name", HostImage(ZVOL, "tank", 1), False),
    ],
)
def test_only_an_older_record_without_devices_is_replaced(
    store: HostStore, pools: FakePools, image_id: str, known: HostImage, is_replaced: bool
) -> None:
    """Of the same image."""
    add_temp_write(pools, 2)
    store.keep(CopyRecord(image_id, known, {"nas": NAS, "volume": f"tank/{ZVOL}"}))
    assert recovered(store, pools) == (OVERLAY if is_replaced else known)


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
