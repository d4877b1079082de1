"""Disks of cluster copies as clones: what an error names."""

from __future__ import annotations

from rocks.cluster.clone import lost_snapshots
from rocks.storage.wire.requests import NewClone


def test_the_snapshot_that_is_lost_is_named_and_not_the_first() -> None:
    requested = [NewClone(f"copy-{number}-vol", f"model-{number % 2}-vol@now") for number in range(4)]
    assert lost_snapshots(requested, ["copy-1-vol", "copy-3-vol"]) == ["model-1-vol@now"]
