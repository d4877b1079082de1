"""`backends.rocks`: how long commands may take."""

from collections.abc import Sequence
from typing import Any

from nucleus.backends.executor import Answer
from nucleus.backends.rocks import Rocks
from rocks.storage.limits import MAP_SECONDS
from rocks.storage.volumes.map_batches import START_WAIT_SECONDS


class Recorder:
    """An executor that does nothing, and notes the deadline of each command."""

    def __init__(self) -> None:
        self.deadlines: dict[str, float] = {}

    def run(self, arguments: Sequence[str], deadline_seconds: float) -> Answer:
        self.deadlines[arguments[0]] = deadline_seconds
        return Answer(0, "[]", "")

    def open(self, arguments: Sequence[str]) -> Any:
        raise NotImplementedError


def test_a_command_has_the_time_for_which_rocks_waits() -> None:
    """What is killed after less leaves its undo to the next command."""
    recorder = Recorder()
    site = Rocks(recorder, 60)
    site.start("vm-vc1-0")
    site.stop("vm-vc1-0", "shutdown", 120)
    assert recorder.deadlines["start"] >= MAP_SECONDS + START_WAIT_SECONDS
    assert recorder.deadlines["stop"] >= 120 + 60
    site.stop("vm-vc1-0", "poweroff")
    assert recorder.deadlines["stop"] == 60
