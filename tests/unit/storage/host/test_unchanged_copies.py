"""A copy that no guest has used: it is marked as clean when its map is undone."""

from contextlib import nullcontext
from typing import Any, cast

import pytest

from rocks.core.errors import ToolError
from rocks.storage.host.copies import CopyHandlers
from rocks.storage.host.effects import MarkCopy, MarkUnchanged
from rocks.storage.host.engine import GrantedImage
from rocks.storage.image.image import HostImage
from rocks.storage.zfs.fake import FakePools

COPY = "tank/vm-vol"


def test_a_mark_that_cannot_be_set_is_set_by_the_repetition(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A copy that stays marked as changed would never be evicted, and a scheduler would wait for its return.

    Only without its pool nothing is repeated.
    """
    pools = FakePools({"tank": 1024**3})
    handlers = CopyHandlers(pools, cast("Any", None), "vmh1").handlers
    image = GrantedImage("1", 5, HostImage("vm-vol"), "nas-0-0", COPY, "127.0.0.1", 1, 2, None)
    pools.ensure_volume(COPY, 64 * 1024 * 1024, 8192)
    base = pools.ensure_snapshot(COPY, pools.read_volume(COPY).guid, "img-1-1", {})
    handlers[MarkCopy](MarkCopy("vm-vol", "tank", "dirty", base.guid), image)

    def fail(*values: Any) -> Any:
        raise ToolError("zfs set does not end")

    with monkeypatch.context() as patch:
        patch.setattr(pools, "ensure_properties", fail)
        with pytest.raises(ToolError):
            handlers[MarkUnchanged](MarkUnchanged("vm-vol", "tank"), image)
    assert pools.read_volume(COPY).property_value("imgstore:copy") == "dirty"
    pools.export_pool("tank")
    handlers[MarkUnchanged](MarkUnchanged("vm-vol", "tank"), image)
    assert (
        "tank/vm-vol stays marked as changed until its next map: this machine has no ZFS pool" in caplog.text
    )
    pools.import_pool("tank")
    pools.fake.pools["tank"].health = "SUSPENDED"
    with monkeypatch.context() as patch:
        patch.setattr(pools, "ensure_properties", fail)
        handlers[MarkUnchanged](MarkUnchanged("vm-vol", "tank"), image)
    assert "until its next map: its pool is SUSPENDED" in caplog.text
    for text, is_passing in (("tank: pool I/O is currently suspended", False), ("zfs does not end", True)):

        def refuse(pool: str, text: str = text) -> Any:
            raise ToolError(text)

        with monkeypatch.context() as patch, pytest.raises(ToolError) if is_passing else nullcontext():
            patch.setattr(pools, "read_pool", refuse)
            handlers[MarkUnchanged](MarkUnchanged("vm-vol", "tank"), image)
    assert "until its next map: tank: pool I/O is currently suspended" in caplog.text
    pools.fake.pools["tank"].health = "ONLINE"
    handlers[MarkUnchanged](MarkUnchanged("vm-vol", "tank"), image)
    assert pools.read_volume(COPY).property_value("imgstore:copy") == "clean"
