"""The world of the cases: in memory, and on ZFS."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.contract.devices.zfs.pool_world import FakeWorld, RealWorld, World


@pytest.fixture(params=["fake", "real"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A part of a pool with nothing in it."""
    if request.param == "fake":
        yield FakeWorld()
        return
    if os.environ.get("ROCKS_REAL_DEVICES") != "yes":
        pytest.skip("real ZFS is in the lab: `make test-lab`")
    real = RealWorld()
    try:
        yield real
    finally:
        real.remove()
