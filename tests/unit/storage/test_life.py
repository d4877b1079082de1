"""Random lives of an image, with crashes between any two effects: nothing is lost, nothing leaks, every path ends."""

import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from rocks.storage.life import events
from rocks.storage.life.states import State, is_stable
from tests import generated
from tests.generated import examples
from tests.unit.storage.sim_volumes import BLOCKS
from tests.unit.storage.world import HOST_FAILURES, HOSTS, NAS_FAILURES, World

EXAMPLES = examples(100)
"""Number of random lives."""

LONG_LIVES = EXAMPLES // 2

hosts = st.sampled_from(HOSTS)


class Life(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    # --- what people do

    @rule(name=hosts, sync=st.sampled_from((True, True, True, True, False)))
    def map(self, name: str, sync: bool) -> None:
        self.world.map(name, sync)

    @rule(block=st.integers(0, BLOCKS - 1))
    def work(self, block: int) -> None:
        """The guest of the lease holder runs and writes."""
        holder = self.world.frontend.holder
        if holder is not None:
            self.world.start_guest(holder)
            self.world.write(holder, block)

    @rule(is_stopped=st.sampled_from((True, True, False)))
    def unmap(self, is_stopped: bool) -> None:
        if is_stopped:
            self.world.stop_guests()
        self.world.request(events.Unmap(self.world.new_id("unmap")))

    @rule(
        what=st.sampled_from(
            ("stop", "cancel", "keep", "discard", "pull", "grow", "retry", "give up", "report")
        )
    )
    def ask_for(self, what: str) -> None:
        self.world.ask_for(what)

    # --- the daemons work

    @rule(count=st.integers(1, 40), transfers=st.sampled_from((True, True, False)))
    def all_goes_well(self, count: int, transfers: bool) -> None:
        """Some turns without a disaster, so that lives get beyond their beginning."""
        for _ in range(count):
            self.world.go_on(transfers)

    @rule(nas=st.integers(0, 3), first=st.integers(0, 5), second=st.integers(0, 5), is_merged=st.booleans())
    def some_steps(self, nas: int, first: int, second: int, is_merged: bool) -> None:
        for _ in range(nas):
            self.world.nas.step()
        for name, count in zip(HOSTS, (first, second), strict=True):
            for _ in range(count):
                self.world.step_host(name)
            if is_merged:
                self.world.hosts[name].merge_one()

    @rule(number=st.integers(0, 7), how=st.sampled_from(("once", "once", "twice", "lost")))
    def deliver(self, number: int, how: str) -> None:
        """Messages arrive in any order."""
        if how == "lost" and self.world.messages:
            self.world.messages.pop(number % len(self.world.messages))
        else:
            self.world.deliver(number, keep=how == "twice")

    @rule(seconds=st.sampled_from((1, 10, 400)))
    def time_passes(self, seconds: int) -> None:
        self.world.nas.now += seconds
        self.world.request(events.RetryDue())

    @rule(kind=st.sampled_from(("seed", "pull")))
    def slot(self, kind: str) -> None:
        self.world.request(events.StartSeed() if kind == "seed" else events.StartPull())

    # --- disasters

    @rule(kind=st.sampled_from(NAS_FAILURES))
    def disaster_on_the_nas(self, kind: str) -> None:
        self.world.strike_nas(kind)

    @rule(name=hosts, kind=st.sampled_from(HOST_FAILURES))
    def disaster_on_a_host(self, name: str, kind: str) -> None:
        self.world.strike_host(name, kind)

    @rule()
    def all_are_up_again(self) -> None:
        self.world.nas.power_on()
        for host in self.world.hosts.values():
            host.power_on()

    # --- what must be true

    @invariant()
    def all_is_well(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        self.world.settle()


def _settings(examples: int, *phases: Phase) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=60,
        deadline=None,
        derandomize=generated.PROFILE == "fixed",
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=phases or (Phase.generate, Phase.shrink),
    )


@pytest.mark.hypothesis
def test_life() -> None:
    run_state_machine_as_test(Life, settings=_settings(EXAMPLES))


def live_long(world: World, seed: int, moves: int, grows: bool = False) -> State:
    """A longer life than hypothesis likes to try, from a seed; the state in which it ends when nothing fails any more.

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


@pytest.mark.parametrize("seed", range(LONG_LIVES))
def test_long_life(seed: int) -> None:
    """The same from a seed, with more moves."""
    assert is_stable(live_long(World(), seed, 300))


@pytest.mark.parametrize("seed", range(LONG_LIVES // 2))
def test_long_life_of_an_image_that_grows(seed: int) -> None:
    """No guest has a disk of another size than the volume, and no copy of another size is taken for the image."""
    world = World()
    first = world.nas.volume.size_bytes
    assert is_stable(live_long(world, seed, 300, grows=True))
    assert world.nas.volume.size_bytes >= first
