"""What a host has of an image that it knows nothing of: kept under a name that nothing else has."""

from typing import Any, cast

from rocks.storage.host.copies import CopyHandlers
from rocks.storage.host.effects import EnsureQuarantined, ReadCopy
from rocks.storage.host.engine import GrantedImage
from rocks.storage.image.image import HostImage
from rocks.storage.zfs.fake import FakePools

SIZE = 64 * 1024 * 1024


def test_a_record_that_is_lost_twice_gets_another_name_in_quarantine() -> None:
    """Both times what was written is seen, and kept; done again, nothing more happens."""
    pools = FakePools({"tank": 1024**3})
    handlers = CopyHandlers(pools, cast("Any", None), "vmh1").handlers
    image = GrantedImage("1", 5, HostImage("vm-vol"), "nas-0-0", "tank/vm-vol", "127.0.0.1", 1, 2, None)
    for _ in range(3):
        pools.ensure_volume("tank/vm-vol-temp-write", SIZE, 8192)
        seen = handlers[ReadCopy](ReadCopy("vm-vol", "tank"), image).copy
        assert seen is not None and seen.has_temp_write and seen.stage == "none"
        for _ in range(2):
            handlers[EnsureQuarantined](EnsureQuarantined("vm-vol", "tank"), image)
    suffixes = [volume.name.removeprefix("tank/vm-vol-temp-write") for volume in pools.list_volumes("tank")]
    assert sorted(suffixes) == ["-quarantine-0", "-quarantine-0-2", "-quarantine-0-3"]
