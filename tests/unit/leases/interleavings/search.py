"""Searches the interleavings of a scenario for a second instance: all of them, or random ones."""

import random
from typing import NamedTuple

from tests.unit.leases.interleavings.world import Choice, Model, Scenario, World, first_world

RARE = ("kill command", "kill agent", "lose reply", "send twice", "busy")
RARELY = 0.95
"""Random interleavings take these choices less often than the others: else most commands would end at once."""


class Found(NamedTuple):
    """Distinct states, interleavings (paths to an end), and the choices that lead to a second instance, if any."""

    states: int
    interleavings: int
    trace: tuple[Choice, ...] | None


def search_all(scenario: Scenario, hosts: tuple[str, ...], faults: int) -> Found:
    """Every interleaving with at most so many faults; ends at the first second instance."""
    paths: dict[int, int] = {}  # by the 64 bits of a state's hash: states would take gigabytes
    model, start = Model(scenario), first_world(hosts, faults)
    stack: list[tuple[World, list[int] | None, Choice]] = [(start, None, ("", ""))]
    while stack:
        world, following, choice = stack[-1]
        if following is None:
            if hash(world) in paths:
                stack.pop()
                continue
            if world.instances > 1:
                trace = tuple(choice for _, expanded, choice in stack if expanded is not None) + (choice,)
                return Found(len(paths), 0, trace[1:])
            following = []
            stack[-1] = (world, following, choice)
            for one in model.choices(world):
                new = model.after(world, one)
                following.append(hash(new))
                if hash(new) not in paths:
                    stack.append((new, None, one))
            continue
        paths[hash(world)] = sum(paths[new] for new in following) or 1
        stack.pop()
    return Found(len(paths), paths[hash(start)], None)


def search_random(
    scenarios: list[Scenario], hosts: tuple[str, ...], faults: int, count: int, seed: int
) -> tuple[int, tuple[Scenario, tuple[Choice, ...]] | None]:
    """So many random interleavings; returns their steps, and the first that leads to a second instance."""
    generator = random.Random(seed)
    steps = 0
    for _ in range(count):
        scenario = generator.choice(scenarios)
        model, world, trace = Model(scenario), first_world(hosts, faults), []
        while options := model.choices(world):
            choice = generator.choice(options)
            if choice[0] in RARE and generator.random() < RARELY:
                choice = generator.choice(options)
            trace.append(choice)
            world = model.after(world, choice)
            if world.instances > 1:
                return steps + len(trace), (scenario, tuple(trace))
        steps += len(trace)
    return steps, None
