"""The world of the cases: in memory, and the kernel's device-mapper."""

from collections.abc import Iterator

import pytest

from tests.contract.storage.device_mapper.dm_real_world import RealWorld
from tests.contract.storage.device_mapper.dm_world import STALLS, FakeWorld, World
from tests.contract.worlds import WORLDS


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A host without devices of this system."""
    made: World = FakeWorld() if request.param == "fake" else RealWorld()
    try:
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module", autouse=True)
def report_stalls() -> Iterator[None]:
    """Durations of the switches, for the output."""
    yield
    for what, seconds in STALLS.items():
        print(f"stall {what}: {seconds * 1000:.1f} ms")
    STALLS.clear()
