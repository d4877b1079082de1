"""Which figures of image storage there are, in the order in which they are measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from bench.images import (
    boots,
    clones,
    cluster_clones,
    copying,
    crashes,
    cut_overs,
    layers,
    life,
    many_starts,
    memory,
    outage,
    returns,
    sizes,
)
from bench.images.site import ImageSite
from bench.table import Found


class Figure(NamedTuple):
    """Rows that are measured together: numbers and names, the function that measures them, its deadline.

    `cpus` are the processors of each machine: two, since a writer that never pauses takes a single one from all that
    should happen to its disk. Guests that boot are measured with one: with two, under emulated SVM, its time varied by
    a factor of two, one guest ended by itself, and the host of another stood still.
    """

    rows: Sequence[tuple[str, str]]
    measure: Callable[[ImageSite], Found]
    deadline_seconds: int
    cpus: int = 2

    @property
    def numbers(self) -> set[str]:
        """The figures' numbers."""
        return {number for number, _ in self.rows}


FIGURES = (
    Figure([("R7", clones.WHAT)], clones.measure, 180),
    Figure(
        [
            ("R19", cluster_clones.TIME_WHAT),
            ("R19", cluster_clones.RATIO_WHAT),
            ("R19", cluster_clones.SPACE_WHAT),
        ],
        cluster_clones.measure,
        900,
    ),
    Figure([("R4", copying.WHAT)], copying.measure, 420),
    Figure([("R3", cut_overs.WHAT), ("R4", cut_overs.RATE_WHAT)], cut_overs.measure, 1200),
    Figure([("R5", returns.WHAT), ("R5", returns.KILL_WHAT)], returns.measure, 420),
    Figure([("R1", boots.WHAT), ("R1", boots.MAP_WHAT)], boots.measure, 1800, cpus=1),
    Figure([("R1", layers.WHAT)], layers.measure, 300, cpus=1),
    Figure([("R15", outage.WHAT)], outage.measure, 300, cpus=1),
    Figure([("R29", many_starts.BYTES_WHAT), ("R29", many_starts.TIME_WHAT)], many_starts.measure, 3000),
    Figure([("R34", crashes.WHAT)], crashes.measure, 1800),
    Figure([("R35", sizes.START_WHAT)], sizes.measure_starts, 2400, cpus=1),
    Figure(
        [("R35", what.format(way)) for way in sizes.WAYS for what in (sizes.RATE_WHAT, sizes.BYTES_WHAT)],
        sizes.measure_copies,
        1800,
        cpus=1,
    ),
    Figure([("R6", life.WHAT), ("R13", life.LOCAL_WHAT)], life.measure, 600),
    Figure([("R17", memory.WHAT.format("NAS")), ("R17", memory.WHAT.format("host"))], memory.measure, 300),
)
