"""One ordinary life, effect by effect, and the same with one failure at any of its moments."""

from collections.abc import Callable, Iterator

from rocks.storage.life import events
from rocks.storage.life.states import LOCAL, MAPPED, REMOTE, UNMAPPED
from tests.unit.storage.world import World

Strike = Callable[[World], None]
MAX_MOMENTS = 400


def moments(world: World, names: tuple[str, ...] = ("vmh1", "vmh2", "vmh1")) -> Iterator[None]:
    """The life: on each host boot, write, become local, pull, stop, return. A pause after every effect."""
    for number, name in enumerate(names):
        yield from _mapped(world, name, sync=True)
        world.start_guest(name)
        world.write(name, number % 3)
        world.write(name, 2)
        world.request(events.StartSeed())
        yield from _until(world, name, LOCAL)
        world.write(name, 1)
        world.request(events.StartPull())
        yield from _until(world, name, LOCAL)
        world.write(name, 0)
        world.request(events.StartPull())
        for _ in range(number + 2):
            yield from _one_turn(world, name)
        yield from _unmapped(world)
    yield from _mapped(world, names[0], sync=False)
    world.start_guest(names[0])
    world.write(names[0], 2)
    yield from _unmapped(world)


def live_with(world: World, strike: Strike, at: int) -> bool:
    """The life with a failure at one moment; False when it ended before. All machines are up three moments later."""
    was_struck = False
    for number, _ in enumerate(moments(world)):
        if number == at:
            strike(world)
            was_struck = True
        if number == at + 3:
            world.nas.power_on()
            for host in world.hosts.values():
                host.power_on()
        world.check()
    world.settle()
    return was_struck


def _mapped(world: World, name: str, sync: bool) -> Iterator[None]:
    for _ in range(MAX_MOMENTS):
        if world.image.state in (MAPPED, LOCAL, REMOTE) and world.frontend.is_mapped:
            return
        if world.image.state == UNMAPPED:
            world.map(name, sync)
        yield from _one_turn(world, name)


def _until(world: World, name: str, state: str) -> Iterator[None]:
    for turn in range(MAX_MOMENTS):
        if world.image.state == state:
            return
        if turn % 10 == 9:
            world.request(events.StartSeed())
        yield from _one_turn(world, name)


def _unmapped(world: World) -> Iterator[None]:
    world.stop_guests()
    for turn in range(MAX_MOMENTS):
        if world.image.state == UNMAPPED:
            return
        if turn % 20 == 0:
            world.request(events.Unmap(world.new_id("unmap")))
        if turn % 10 == 9:
            world.request(events.StartSeed())
        yield from _one_turn(world, "")


def _one_turn(world: World, name: str) -> Iterator[None]:
    """One effect of each machine, with a moment after each, and a write between two chunks of a merge."""
    world.nas.now += 20
    world.request(events.RetryDue())
    if world.nas.now % 400 == 0:
        world.nas.asked = set()
    world.deliver(0, keep=False)
    yield
    world.nas.step()
    yield
    for host in world.hosts.values():
        world.step_host(host.name)
        yield
        host.merge_one()
    if name:
        world.start_guest(name)
        world.write(name, world.versions % 3)
    yield
