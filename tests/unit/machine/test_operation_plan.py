"""The plan of operations on a domain: steps, as a dry run prints them, or a refusal."""

import re
from dataclasses import replace

import pytest

from rocks.core.errors import StateError
from rocks.fleet.wire.requests import (
    DiskSpec,
    EndArrival,
    EndDeparture,
    FreezeGuest,
    GrowDisk,
    MakeSnapshot,
    Operation,
    PauseDomain,
    RestoreSnapshot,
    ResumeDomain,
    SaveDomain,
    StopDomain,
    ThawGuest,
)
from rocks.machine.host.operations import plan_operation
from rocks.machine.plans import Observed, SaveFacts
from tests.unit.machine.starts import disk, domain

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
    assert list(plan_operation(operation, Observed(found)).steps) == steps  # type: ignore[arg-type]


FREE = SaveFacts((), (), "/saves", 10**12, is_recorded=True)
SAVED = replace(OFF, has_managed_save=True)
DISK = DiskSpec("/images/a", "raw", 1, False)


@pytest.mark.parametrize(
    ("operation", "observed", "message"),
    [
        *(
            (operation, Observed(None), "a is not running on this host: it is absent; rocks start host vm a")
            for operation in (
                PauseDomain("a"),
                ResumeDomain("a"),
                StopDomain("a", action="reset"),
                FreezeGuest("a", 5),
                ThawGuest("a", 5),
                EndDeparture("a", 5, resumes=True),
            )
        ),
        (StopDomain("a", action="reboot"), Observed(PAUSED), "it is paused; rocks resume host vm a"),
        (StopDomain("a", action="shutdown"), Observed(PAUSED), "a is paused, so its guest cannot shut down"),
        (StopDomain("a", 4), Observed(RUNS), "a is on this host under lease 5, newer than 4"),
        (PauseDomain("a", 4), Observed(PAUSED), "under lease 5, newer than 4"),
        (StopDomain("a"), Observed(SAVED), "a is saved on this host: rocks restore host vm a continues it"),
        (ThawGuest("a", 6), Observed(RUNS), "a runs on this host under lease 5, not 6"),
        (
            GrowDisk("a", DISK),
            Observed(None, {"/images/a": disk(filesystem_bytes=1)}),
            "a does not grow: 1.0 GB is more",
        ),
        (
            GrowDisk("a", DISK),
            Observed(None, {"/images/a": disk(free_bytes=0)}),
            "a does not grow: the file system",
        ),
        (SaveDomain("a", 5, 64), Observed(OFF), "a is not running on this host, so there is nothing to save"),
        (SaveDomain("a", 6, 64), Observed(RUNS), "a is on this host under lease 5, not 6"),
        (
            SaveDomain("a", 5, 64),
            Observed(RUNS, save=FREE._replace(host_devices=("0000:03:00.1",))),
            "0000:03:00.1",
        ),
        (
            SaveDomain("a", 5, 64),
            Observed(RUNS, save=FREE._replace(devices=("/dev/x",))),
            "/dev/x is a device",
        ),
        (SaveDomain("a", 5, 64), Observed(RUNS, save=FREE._replace(free_bytes=0)), "0 bytes free"),
        (
            GrowDisk("a", DISK, 5),
            Observed(SAVED, {"/images/a": disk(exists=True)}),
            "with /images/a as it is",
        ),
        (
            GrowDisk("a", DISK),
            Observed(RUNS, {"/images/a": disk(exists=True)}),
            "its lease is not recorded as running",
        ),
        (RestoreSnapshot("a", (DISK,), ("/images/a.1",)), Observed(SAVED), "a runs, or is saved"),
        (
            MakeSnapshot("a", (DISK,), ("/images/a.1",)),
            Observed(OFF, {"/images/a.1": disk(), "/images/a": disk(exists=True)}, snapshot="monday"),
            "a has a snapshot monday already, which is complete, also if the command that made it was interrupted; ",
        ),
        (
            MakeSnapshot("a", (DISK,), ("/images/a.1",), 5),
            Observed(RUNS, {"/images/a.1": disk(), "/images/a": disk(exists=True)}),
            "a runs without its disk /images/a",
        ),
        (
            MakeSnapshot("a", (DISK,), ("/images/a.1",)),
            Observed(OFF, {"/images/a.1": disk(), "/images/a": disk()}),
            "/images/a does not exist yet: its machine was never started",
        ),
    ],
)
def test_what_the_host_refuses(operation: Operation, observed: Observed, message: str) -> None:
    with pytest.raises(StateError, match=re.escape(message)):
        plan_operation(operation, observed)


@pytest.mark.parametrize(
    ("operation", "observed", "plan"),
    [
        (SaveDomain("a", 5, 64), Observed(SAVED, save=FREE), ()),
        (
            SaveDomain("a", 5, 64),
            Observed(SAVED, save=FREE._replace(is_recorded=False)),
            ("complete the interrupted save of a",),
        ),
        (
            GrowDisk("a", DISK),
            Observed(None, {"/images/a": disk(exists=True)}),
            ("grow /images/a of a to 1 GB",),
        ),
        (GrowDisk("a", DISK), Observed(None, {"/images/a": disk()}), ()),
        (GrowDisk("a", DISK, 5), Observed(RUNS, {"/images/a": disk(exists=True)}), ()),
        (StopDomain("a", action="shutdown"), Observed(domain("a", "crashed", token=5)), ("power off a",)),
        (
            StopDomain("a", discards_save=True),
            Observed(SAVED),
            ("discard the saved memory of a, and remove its definition",),
        ),
    ],
)
def test_what_depends_on_more_than_the_state(
    operation: Operation, observed: Observed, plan: tuple[str, ...]
) -> None:
    assert plan_operation(operation, observed).steps == plan
