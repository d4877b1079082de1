"""Random lives of an image, with crashes between any two effects: nothing is lost, nothing leaks, every path ends."""

import random
from collections.abc import Callable

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from rocks.storage.life import events
from rocks.storage.life.states import STATES, State
from tests.generated import examples
from tests.unit.storage.sim_volumes import BLOCKS
from tests.unit.storage.world import HOST_FAILURES, HOSTS, NAS_FAILURES, World

EXAMPLES = examples(100)
"""Number of random lives."""

LONG_LIVES = EXAMPLES // 2


def live_long(world: World, seed: int, moves: int, grows: bool = False) -> State:
    """A life of so many moves, from a seed; the state in which it ends when nothing fails any more.

    AssertionError when something is lost on the way (`World.check`), or it has no end.
    """
    order = random.Random(seed)
    kinds, weights = zip(*(MOVES | GROWTH if grows else MOVES).items(), strict=True)
    for kind in order.choices(kinds, weights, k=moves):
        kind(world, order)
        world.check()
    world.settle()
    return world.image.state


def _work(world: World, order: random.Random) -> None:
    holder = world.frontend.holder
    if holder is not None:
        world.start_guest(holder)
        world.write(holder, order.randrange(BLOCKS))


def _unmap(world: World, order: random.Random) -> None:
    if order.random() < 0.8:
        world.stop_guests()
    world.request(events.Unmap(world.new_id("unmap")))


def _deliver(world: World, order: random.Random) -> None:
    if world.messages and order.random() < 0.2:
        world.messages.pop(order.randrange(len(world.messages)))
    else:
        world.deliver(order.randrange(100), keep=order.random() < 0.4)


def _time(world: World, order: random.Random) -> None:
    world.nas.now += order.choice((1, 10, 400))
    world.request(events.RetryDue())


def _all_up(world: World, order: random.Random) -> None:
    world.nas.power_on()
    for host in world.hosts.values():
        host.power_on()


def _go_on(world: World, order: random.Random) -> None:
    for _ in range(order.randrange(12)):
        world.go_on(order.random() < 0.8)


Move = Callable[[World, random.Random], None]
REQUESTS = ("stop", "cancel", "keep", "keep", "discard", "pull", "retry", "retry", "give up", "report")
MOVES: dict[Move, int] = {
    _go_on: 20,
    _work: 15,
    _unmap: 4,
    _deliver: 4,
    _time: 5,
    _all_up: 6,
    lambda world, order: world.map(order.choice(HOSTS), order.random() < 0.85): 7,
    lambda world, order: world.ask_for(order.choice(REQUESTS)): 4,
    lambda world, order: world.nas.step(): 8,
    lambda world, order: world.step_host(order.choice(HOSTS)): 12,
    lambda world, order: world.request(events.StartSeed()): 3,
    lambda world, order: world.request(events.StartPull()): 3,
    lambda world, order: world.strike_nas(order.choice(NAS_FAILURES)): 5,
    lambda world, order: world.strike_host(order.choice(HOSTS), order.choice(HOST_FAILURES)): 5,
}
"""What happens in a long life, and how often."""

GROWTH: dict[Move, int] = {lambda world, order: world.ask_for("grow"): 6}
"""Besides, in the life of an image that grows."""


@settings(max_examples=EXAMPLES, phases=(Phase.explicit, Phase.generate))
@given(seed=st.integers(0, 2**32))
def test_life(seed: int) -> None:
    """`make test-random` has fresh seeds."""
    assert STATES[live_long(World(), seed, 60)].is_stable


@pytest.mark.parametrize("seed", range(LONG_LIVES))
def test_long_life(seed: int) -> None:
    """The same from a seed, with more moves."""
    assert STATES[live_long(World(), seed, 300)].is_stable


@pytest.mark.parametrize("seed", range(LONG_LIVES // 2))
def test_long_life_of_an_image_that_grows(seed: int) -> None:
    """No guest has a disk of another size than the volume, and no copy of another size is taken for the image."""
    world = World()
    first = world.nas.volume.size_bytes
    assert STATES[live_long(world, seed, 300, grows=True)].is_stable
    assert world.nas.volume.size_bytes >= first
