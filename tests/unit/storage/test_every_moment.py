"""A failure at every moment of an ordinary life: the guest reads its writes, and the image is written back (R12)."""

import pytest

from tests.generated import moments_step
from tests.unit.storage.script import Strike, live_with, moments
from tests.unit.storage.world import World

pytestmark = pytest.mark.moments
STEP = moments_step(29)
"""`make test-random` tries every moment."""

STRIKES: dict[str, Strike] = {
    "the NAS's daemon is killed": lambda world: world.strike_nas("kill"),
    "it is killed after an effect, before it is recorded": lambda world: world.strike_nas("kill within"),
    "the NAS loses power": lambda world: world.strike_nas("power cut"),
    "an effect on the NAS fails": lambda world: world.strike_nas("program fails"),
    "no answer comes in time": lambda world: world.strike_nas("no answer"),
    "a host's daemon is killed": lambda world: [world.strike_host(name, "kill") for name in world.hosts][0],
    "the hosts lose power": lambda world: [world.strike_host(name, "power cut") for name in world.hosts][0],
    "an effect on a host fails": lambda world: [
        world.strike_host(name, "program fails") for name in world.hosts
    ][0],
    "a stream is cut": lambda world: [world.strike_host(name, "stream cut") for name in world.hosts][0],
    "a message arrives twice": lambda world: world.deliver(0, keep=True),
    "all messages are lost": lambda world: world.messages.clear(),
}


@pytest.mark.parametrize("name", STRIKES)
def test_at_every_moment(name: str) -> None:
    """Nothing is lost, nothing is left, and it ends."""
    at = 0
    while live_with(World(), STRIKES[name], at):
        at += STEP
    assert at > 1000


def test_the_ordinary_life() -> None:
    """Without a failure it ends with the image written back."""
    world = World()
    count = sum(1 for _ in moments(world))
    assert world.image.state == "unmapped" and world.versions > 50 and count > 300
    assert world.image.epoch == 4 and world.nas.volume.content == world.expected
