"""The world of the cases: in memory, and on ZFS."""

from collections.abc import Iterator

import pytest

from tests.contract.storage.zfs.pool_world import FakeWorld, RealWorld, World
from tests.contract.worlds import WORLDS


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A part of a pool with nothing in it."""
    if request.param == "fake":
        yield FakeWorld()
        return
    real = RealWorld()
    try:
        yield real
    finally:
        real.remove()
