"""What a host has of an image that it knows nothing of: kept under a name that nothing else has."""

from __future__ import annotations

from typing import Any, cast

from rocks.devices.zfs.fake.pools import FakePools
from rocks.imgstorage.model.host_actions import HostImage
from rocks.imgstorage.model.host_effects import EnsureSetAside, ReadCopy
from rocks.imgstorage.perform.access import Access
from rocks.imgstorage.perform.copy_handlers import CopyHandlers

SIZE = 64 * 1024 * 1024


def test_a_record_that_is_lost_twice_stops_nobody() -> None:
    """Both times what was written is seen, and kept; done again, nothing more happens."""
    pools = FakePools({"tank": 1024**3})
    operations = CopyHandlers(pools, cast("Any", None), "vmh1").operations
    access = Access("1", 5, HostImage("vm-vol"), "nas-0-0", "tank/vm-vol", "127.0.0.1", 1, 2, None)
    for _ in range(3):
        pools.ensure_volume("tank/vm-vol-temp-write", SIZE, 8192)
        seen = operations[ReadCopy](ReadCopy("vm-vol", "tank"), access).copy
        assert seen is not None and seen.has_temp_write and seen.stage == "none"
        for _ in range(2):
            operations[EnsureSetAside](EnsureSetAside("vm-vol", "tank"), access)
    kept = [volume.name.removeprefix("tank/vm-vol-temp-write") for volume in pools.list_volumes("tank")]
    assert sorted(kept) == ["-orphan-0", "-orphan-0-2", "-orphan-0-3"]
