"""Gives all intervals their events, and stores the operations that follow; one controller at a time.

As the controller of computesets: everything is compared again at each round, and what a step decides is stored in one
transaction with its operation. So nothing is lost when a round ends anywhere.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from nucleus.mirror import operations
from nucleus.mirror.events import WORK
from nucleus.mirror.pool import logged
from nucleus.operations.timers import Clock
from nucleus.records import SYSTEM, NewOperation, Operation
from nucleus.states import CANCELLED, ENDED_OPERATIONS, QUEUED, SUCCEEDED
from owners.reservations import lifecycle, mail, records
from owners.reservations.lifecycle import NOT_STARTED, TOO_LATE
from owners.reservations.records import RUNNING
from owners.reservations.reserve import scheduler_of
from owners.reservations.rules import STOP_SECONDS
from owners.reservations.work import BOOT, STOP
from rocks.core.errors import RocksError

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

    from nucleus.configuration import Configuration
    from nucleus.mirror.pool import Guard, Session
    from nucleus.records import JsonObject
    from owners.reservations.lifecycle import Step
    from owners.reservations.records import Living

_LOG = logging.getLogger(__name__)
_KINDS = {"boot": BOOT, "stop": STOP}
_ENDS = {BOOT: ("booted", "boot_failed"), STOP: ("cleaned", "stop_failed")}
_OPERATION, _HAS_FAILED = "operation", "has_failed"
"""Notes beside the timers: the operation that was stored last; the interval ends `failed`."""

_AGAIN_SECONDS = 30.0
_FORGET_SECONDS = 3600.0
_ABSENT_SECONDS = 60.0
"""How long a reservation is missed in the scheduler until it counts as ended there."""


class Controller:
    """The controller of a process; it does nothing without the lease."""

    def __init__(self, configuration: Configuration, guard: Guard, clock: Clock | None = None) -> None:
        self._configuration = configuration
        self._guard = guard
        self._clock = clock or Clock()
        self._compared: float | None = None
        self._forgot: float | None = None
        self._absent: dict[int, float] = {}
        """Interval → when its reservation was first missed in the scheduler."""
        self._begun: str | None = None
        """When the scheduler was started, as of the last comparison."""
        self._lost: set[int] = set()
        """Intervals whose reservations the scheduler may have lost: nobody has ended them."""

    def run(self, stop: threading.Event) -> None:
        """A round whenever something has changed, and each second, until `stop` is set."""
        self._guard.work("reservations", self.round, WORK, stop)
        self._guard.release()

    def round(self) -> None:
        """Give each interval its next event. The lease must be held."""
        gone, now = self._compare_with_scheduler(), self._clock.since_boot()
        with self._guard.transaction() as session:
            if self._forgot is None or now >= self._forgot + _FORGET_SECONDS:
                records.forget_ended(session)
                self._forgot = now
            numbers = records.living_intervals(session)
        for number in [*numbers, *sorted(gone.difference(numbers))]:
            with logged(f"reservation interval {number}"):
                self._drive(number, number in gone)

    def _compare_with_scheduler(self) -> set[int]:
        """Intervals whose reservation somebody has ended in the scheduler, or the job of one that runs.

        What is missing when the scheduler was started since the last comparison may be lost with its state: such an
        interval goes on, since the end of its reservation would remove a cluster that somebody uses.
        What is there of an interval that has ended, or that a process which was killed has left, is ended.

        This site is locked after that, for a moment: who reserves holds it until the reservation is stored. So what
        Slurm had, and is of no interval then, will be of none.
        """
        now = self._clock.since_boot()
        scheduler = scheduler_of(None, self._configuration.batch)
        every = self._configuration.computesets.reconcile_seconds
        if scheduler is None or (self._compared is not None and now < self._compared + every):
            return set()
        try:
            before = self._living()
            found, held, begun = scheduler.numbers(), scheduler.held(), scheduler.begun()
            living = self._living()
            for number in held.keys() - living:
                scheduler.release(held[number])
            scheduler.delete(found - living.keys())
        except RocksError as error:
            _LOG.warning("reservations: %s", error)
            return set()
        self._compared = now
        missing = {
            number for number, state in before.items() & living.items()
            if number not in found or (state == RUNNING and number not in held)
        }  # fmt: skip
        if begun != self._begun:
            self._begun, self._lost = begun, self._lost | missing
        self._lost &= missing
        if self._lost:
            _LOG.error(
                "the scheduler was started anew without the reservations of the intervals %s, or their jobs; create the"
                " reservations again there (nucleus-NUMBER), or cancel the intervals",
                ", ".join(map(str, sorted(self._lost))),
            )
        self._absent = {number: self._absent.get(number, now) for number in missing - self._lost}
        return {number for number, since in self._absent.items() if now >= since + _ABSENT_SECONDS}

    def _living(self) -> dict[int, str]:
        with self._guard.transaction() as session:
            return records.lock_living(session)

    def _drive(self, number: int, is_gone: bool) -> None:
        with self._guard.transaction() as session:
            one = records.lock_interval(session, number)
            if one is None:
                return
            notes, last = self._notes(one), None
            if _OPERATION in notes:
                last = operations.find_operation(session, SYSTEM, notes[_OPERATION])
            steps = (
                lifecycle.TABLE.get((one.state, event)) for event in self._events(one, notes, last, is_gone)
            )
            step = next((it for it in steps if it is not None), None)
            if step is not None and step.action == "stop" and not _end_if_queued(session, last):
                step = None  # what boots now would be there after it was looked for
            if step is not None:
                self._apply(session, one, _with_cause(step, one, last), notes)
            elif notes != one.notes:
                session.update("reservation_interval", {"notes": notes}, id=one.id)
        if step is not None:
            WORK.give()

    def _notes(self, one: Living) -> JsonObject:
        """What is noted of it; timers for begin and stop when the interval is first seen."""
        if one.notes:
            return dict(one.notes)
        return {name: self._clock.timer_at(moment) for name, moment in _moments(one).items()}

    def _events(self, one: Living, notes: JsonObject, last: Operation | None, is_gone: bool) -> Iterator[str]:
        """What has happened, the most important first."""
        if one.is_cancelled:
            yield "cancel"
        if is_gone:
            yield "gone"
        if last is not None and last.state in ENDED_OPERATIONS:
            done, failed = _ENDS[last.kind]
            if last.kind == STOP and notes.get(_HAS_FAILED):
                done = "cleaned_after_failure"
            yield done if last.state == SUCCEEDED else failed
        for name, moment in _moments(one).items():
            # by the calendar, too: after a clock was put forward, the next one would begin while this one runs
            if self._clock.is_due(notes[name]) or self._clock.now() >= moment:
                yield name

    def _apply(self, session: Session, one: Living, step: Step, notes: JsonObject) -> None:
        if step.action:
            arguments = {
                "interval": one.id, "site": one.site_id, "folder": self._configuration.images.folder,
            }  # fmt: skip
            new = NewOperation(
                _KINDS[step.action], "nucleus", arguments=arguments,
                delay_seconds=_AGAIN_SECONDS if step.state == one.state else 0.0,
                unique_key=f"reservation/{one.id}/{one.version}",
            )  # fmt: skip
            notes[_OPERATION] = operations.insert_operation(session, new).id
        if step.is_failure:
            notes[_HAS_FAILED] = True
        changed = {"state": step.state, "notes": notes, "reason": step.reason or one.reason}
        session.update("reservation_interval", changed, "version = version + 1", id=one.id)
        mail.store(session, self._configuration.mail, one.id, one.version, step.state)
        _LOG.info("reservation interval %d: %s=>%s", one.id, one.state, step.state)


def _moments(one: Living) -> dict[str, float]:
    """When it is stopped and begins, in seconds since 1970; the most important first."""
    return {
        lifecycle.STOP: one.ends_at.timestamp() - STOP_SECONDS,
        lifecycle.BEGIN: one.begins_at.timestamp(),
    }


def _with_cause(step: Step, one: Living, last: Operation | None) -> Step:
    """With what its operation says of the failure, or why it had no hosts, in words for owners."""
    cause: str | None = None
    if step.reason == NOT_STARTED and last is not None and last.error:
        cause = str(last.error.get("detail", last.state))
    elif step.reason == TOO_LATE:
        cause = one.reason
    return step._replace(reason=f"{NOT_STARTED}: {cause}"[:255]) if cause else step


def _end_if_queued(session: Session, last: Operation | None) -> bool:
    """Cancel an operation that is queued; whether nobody works at it now."""
    if last is None or last.state in ENDED_OPERATIONS:
        return True
    ended = {"state": CANCELLED}
    return bool(session.update("operation", ended, "ended = UTC_TIMESTAMP(3)", id=last.id, state=QUEUED))
