"""The steps of operations on a domain, as a dry run prints them."""

from dataclasses import replace

import pytest

from rocks.core.errors import StateError
from rocks.fleet.wire.requests import (
    EndArrival,
    EndDeparture,
    FreezeGuest,
    Operation,
    PauseDomain,
    ResumeDomain,
    StopDomain,
    ThawGuest,
)
from rocks.machine.plan import plan_steps
from tests.unit.machine.starts import domain

RUNS, PAUSED, OFF = (domain("a", state, token=5) for state in ("running", "paused", "shutoff"))
INCOMING = replace(PAUSED, persistent=False)


@pytest.mark.parametrize(
    ("operation", "found", "steps"),
    [
        (
            StopDomain("a", action="shutdown", deadline_seconds=9),
            RUNS,
            ["request a to shut down, and power it off after 9 s"],
        ),
        (StopDomain("a"), None, []),
        (StopDomain("a"), OFF, ["remove the definition of a"]),
        (ResumeDomain("a"), PAUSED, ["resume a"]),
        (ResumeDomain("a"), RUNS, []),
        (PauseDomain("a"), PAUSED, []),
        (PauseDomain("a"), RUNS, ["pause a"]),
        (FreezeGuest("a", 5), RUNS, ["freeze the file systems of a, if its guest agent answers"]),
        (ThawGuest("a", 5), RUNS, ["thaw them, if they are frozen"]),
        (EndArrival("a", 5), RUNS, []),
        (EndArrival("a", 5), PAUSED, []),
        (EndArrival("a", 5), INCOMING, ["end the migration of a to this host, and destroy it here"]),
        (EndArrival("a", 5), None, ["end the migration of a to this host"]),
        (EndArrival("a", 6), OFF, ["end the migration of a to this host"]),
        (EndDeparture("a", 5), None, []),
        (EndDeparture("a", 5, resumes=True), RUNS, []),
        (EndDeparture("a", 5, resumes=True), PAUSED, ["resume a"]),
    ],
)
def test_what_the_host_would_do(operation: Operation, found: object, steps: list[str]) -> None:
    assert list(plan_steps(operation, found)) == steps  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "operation",
    [
        PauseDomain("a"),
        StopDomain("a", action="reset"),
        FreezeGuest("a", 5),
        EndDeparture("a", 5, resumes=True),
    ],
)
def test_what_needs_a_running_guest_is_refused_without(operation: Operation) -> None:
    with pytest.raises(StateError, match="a is not running on this host: it is absent"):
        plan_steps(operation, None)
