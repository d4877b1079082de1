"""What the controller looks at besides single computesets."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import MagicMock

from nucleus.configuration import BatchSettings, Configuration
from nucleus.operations.timers import Clock
from owners.computesets.alarms import Scheduler
from rocks.core.errors import HostError


class _Database:
    """Is away at first."""

    def __init__(self) -> None:
        self.session = MagicMock()
        self.is_away = True

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        if self.is_away:
            raise HostError("the database is away")
        yield self.session


def test_what_the_database_did_not_take_is_noted_by_the_next_round() -> None:
    """On a list of hosts nothing repeats it: an alarm of a Slurm that the site has left stayed."""
    for kind in ("hosts", "slurm"):
        database = _Database()
        settings = Configuration(batch=BatchSettings(kind))
        scheduler = Scheduler(settings, database, Clock(since_boot=lambda: 100.0))  # type: ignore[arg-type]
        scheduler.answered(100.0, 0)
        database.is_away = False
        scheduler.answered(100.0, 0)
        changed = database.session.update if kind == "slurm" else database.session.delete
        assert changed.call_count == 1, kind
        scheduler.answered(100.0, 0)
        assert changed.call_count == 1, "it is noted once"
