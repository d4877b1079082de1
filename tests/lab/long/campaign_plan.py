"""What a run of the campaign of image storage does, drawn from a seed, and the table of all runs. Pure."""

import random
from collections.abc import Iterable
from typing import NamedTuple

STATES = {
    "mapping": 6.0,
    "copying": 10.0,
    "merging": 1.0,
    "local": 4.0,
    "pulling": 8.0,
    "returning": 3.0,
    "removing": 1.0,
}
"""States of an image's life, and how long each lasts about, in seconds on a quiet machine."""

MACHINE_FAULTS = ("daemon killed", "power", "cable", "pool full", "clock")
SITE_FAULTS = ("broker down", "database down")
_MACHINES = ("vmh1", "nas")
_CLOCK_STEPS_SECONDS = (-7200, -300, 300, 7200)
_FAULT_SECONDS = (2.0, 30.0)
_FAULTS = [(machine, fault) for fault in MACHINE_FAULTS for machine in _MACHINES]
_FAULTS += [("", fault) for fault in SITE_FAULTS]
CELLS = len(STATES) * len(_FAULTS)
"""So many runs have each fault in each state once."""


class LostError(AssertionError):
    """A disk does not have what was confirmed as written."""


class Plan(NamedTuple):
    """A run: `delay_seconds` after the state began the fault comes, and ends `fault_seconds` later."""

    seed: int
    number: int
    state: str
    machine: str
    """That of the fault; empty when the fault is the site's."""
    fault: str
    delay_seconds: float
    fault_seconds: float
    clock_step_seconds: int
    """Of the fault `clock`."""

    @property
    def fault_text(self) -> str:
        """The fault with its machine."""
        return f"{self.machine} {self.fault}".strip()


class Result(NamedTuple):
    """How a run ended: `seconds` from the end of the fault until the image and its guest were well again."""

    plan: Plan
    outcome: str
    seconds: float


def draw(seed: int, number: int) -> Plan:
    """The run of that number, from 1 on; the same whatever runs before it."""
    round_number, place = divmod(number - 1, CELLS)
    cells = [(state, machine, fault) for state in STATES for machine, fault in _FAULTS]
    random.Random(f"{seed} round {round_number}").shuffle(cells)
    state, machine, fault = cells[place]
    moments = random.Random(f"{seed} run {number}")
    return Plan(
        seed,
        number,
        state,
        machine,
        fault,
        round(moments.uniform(0, STATES[state]), 1),
        round(moments.uniform(*_FAULT_SECONDS), 1),
        moments.choice(_CLOCK_STEPS_SECONDS),
    )


def line_of(result: Result) -> str:
    """One line about a run."""
    plan = result.plan
    return (
        f"SEED={plan.seed} RUN={plan.number}: {plan.state}, after {plan.delay_seconds:g} s {plan.fault_text} "
        f"for {plan.fault_seconds:g} s: {result.outcome}, {result.seconds:.0f} s"
    )


def table(results: Iterable[Result]) -> str:
    """State and fault: runs, outcomes, longest seconds; a Markdown table."""
    cells: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        cells.setdefault((result.plan.state, result.plan.fault_text), []).append(result)
    order = list(STATES)
    lines = ["| state | fault | runs | outcomes | longest seconds |", "|---|---|---|---|---|"]
    for (state, fault), found in sorted(
        cells.items(), key=lambda cell: (order.index(cell[0][0]), cell[0][1])
    ):
        outcomes = "; ".join(dict.fromkeys(result.outcome for result in found))
        longest = max(result.seconds for result in found)
        lines.append(f"| {state} | {fault} | {len(found)} | {outcomes} | {longest:.0f} |")
    return "\n".join(lines)
