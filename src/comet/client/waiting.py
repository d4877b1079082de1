"""Waiting until what was asked for can be seen: first the operation, by long polls, then its effect."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Callable, Optional

from comet.client.errors import CometError, OperationFailedError, UnreachableError, WaitTimeoutError
from comet.client.hostlists import collect_hostlist
from comet.client.records import TERMINAL_STATES, Computeset, Operation, Outcome, Started

if TYPE_CHECKING:
    from comet.client.client import Client

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 4.0
_NOT_RUNNING = "not running with all nodes on"


def awaited(one: Computeset) -> str:
    """The state of a set, and what it waits for."""
    off = [node.name for node in one.computes if node.power != "on"]
    if one.state in ("created", "submitted") and one.waiting:
        return f"{one.state}; {one.waiting}{f' (place {one.place})' if one.place else ''}"
    if one.state == "submitted":
        return f"submitted; it waits for {len(one.computes)} free host{'s' * (len(one.computes) > 1)}"
    if one.state == "running" and off:
        return f"running; it waits until {collect_hostlist(off)} {'are' if len(off) > 1 else 'is'} on"
    if one.state == "ending":
        return "ending; it waits until its nodes are off, their disks written back, and its job ended"
    return one.state


class Waiter:
    """Everything that one command waits for, within `timeout` seconds in all. A server that is away for a while is not
    an error: the operation lasts, and so does the wait.

    `report` gets a line whenever something changes.
    """

    def __init__(
        self, client: Client, timeout: float, report: Optional[Callable[[str], None]] = None
    ) -> None:
        self.client, self.report = client, report or (lambda line: None)
        self.timeout, self.end = timeout, time.monotonic() + timeout
        self.reported: dict[int, str] = {}
        self.trouble: Optional[CometError] = None
        """Why the last question had no answer; None after one, also after a refusal that passes."""

    def follow(self, thing: Any) -> None:
        """An Operation, Started, Outcome, or a list of them."""
        if isinstance(thing, Operation):
            self.operation(thing)
        elif isinstance(thing, Started):
            if thing.operation:
                self.operation(thing.operation, thing.computeset)
            self.running(thing.computeset)
        elif isinstance(thing, Outcome):
            if thing.error:
                raise thing.error
            self.follow(thing.operation)
        else:
            for one in thing or ():
                self.follow(one)

    def operation(self, operation: Operation, computeset: Optional[int] = None) -> None:
        """Until it is done. OperationFailedError if it failed or was cancelled.

        What the computeset that it starts waits for is reported meanwhile.
        """
        found: Optional[Operation] = operation
        while found is None or not found.done:
            if computeset is not None:
                self._look(computeset)
            left = self.end - time.monotonic()
            if left <= 0 and computeset is not None:
                raise self._too_late(f"computeset {computeset}: {_NOT_RUNNING}", f"computeset {computeset}")
            if left <= 0:
                raise self._too_late(
                    f"operation {operation.id} is not done", f"operation show {operation.id}"
                )
            began = time.monotonic()
            seconds = left if computeset is None else min(left, LONGEST_PAUSE)
            found = self._ask(functools.partial(self.client.follow, operation.id, seconds))
            if time.monotonic() - began < FIRST_PAUSE and (found is None or not found.done):
                self._sleep(1.0)  # a server that does not hold its answer back
        if found.state == "cancelled":
            raise OperationFailedError(
                f"operation {found.id} was cancelled{f': {found.error}' if found.error else ''}"
            )
        if found.state != "succeeded":
            raise OperationFailedError(
                f"operation {found.id} {found.state}: {found.error or 'the server gives no reason'}"
            )

    def running(self, number: int) -> Computeset:
        """Until the set runs and all its nodes are on. OperationFailedError if it ends before."""

        def ready(it: Computeset) -> bool:
            if it.state in ("ending", *TERMINAL_STATES):
                raise OperationFailedError(
                    f"computeset {number} is {it.state}{it.why} "
                    f"and will not run. See: comet computeset {number}"
                )
            return it.state == "running" and all(node.power == "on" for node in it.computes)

        return self._set(number, ready, _NOT_RUNNING)

    def ended(self, number: int) -> Computeset:
        """Until the set has ended and its disks are home."""
        return self._set(number, lambda it: it.state in TERMINAL_STATES, "not ended")

    def power(self, cluster: str, outcomes: Sequence[Outcome], expected: str) -> None:
        """Until every node's power is as expected: on or off. Errors in outcomes are raised."""
        self.follow(outcomes)
        targets = {it.target.casefold() for it in outcomes}
        frontend = targets == {cluster.casefold()}

        def seen() -> Optional[bool]:
            found = self._ask(lambda: self.client.cluster(cluster))
            if found is None:
                return None
            if frontend:
                return bool(found.frontend and found.frontend.power == expected)
            power = {it.name.casefold(): it.power for it in found.computes}
            return all(power.get(it) == expected for it in targets)

        self._until(
            seen,
            f"{', '.join(it.target for it in outcomes)} of {cluster}: power is not {expected}",
            f"cluster {cluster} --status",
        )

    def _set(self, number: int, reached: Callable[[Computeset], bool], not_yet: str) -> Computeset:
        last: list[Computeset] = []

        def seen() -> Optional[bool]:
            found = self._look(number)
            if found is None:
                return None
            last.append(found)
            return reached(found)

        self._until(seen, f"computeset {number}: {not_yet}", f"computeset {number}")
        return last[-1]

    def _look(self, number: int) -> Optional[Computeset]:
        """The set, or None without an answer; what it waits for is reported when that has changed."""
        found: Optional[Computeset] = self._ask(lambda: self.client.computeset(number))
        if found is not None and awaited(found) != self.reported.get(number):
            self.reported[number] = awaited(found)
            self.report(f"computeset {number}: {awaited(found)}")
        return found

    def _until(self, seen: Callable[[], Optional[bool]], not_yet: str, command: str) -> None:
        pause = FIRST_PAUSE
        while not seen():
            if time.monotonic() >= self.end:
                raise self._too_late(not_yet, command)
            self._sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 1.5)

    def _too_late(self, not_yet: str, command: str) -> CometError:
        """Whether it is not yet so is unknown where the server cannot be asked."""
        if self.trouble is not None:
            return UnreachableError(
                f"{self.trouble}. What was asked for goes on; when the server answers again: comet {command}"
            )
        return WaitTimeoutError(f"{not_yet} after {self.timeout:g} s; it goes on. See: comet {command}")

    def _ask(self, question: Callable[[], Any]) -> Any:
        """The answer, or None from a server that is busy or cannot be reached; an old one from the cache is none."""
        before, self.client.cached_at = self.client.cached_at, None
        self.client.connection.ask_until = self.end
        try:
            found = question()
            is_old = self.client.cached_at is not None
            self._note(UnreachableError(f"{self.client.endpoint.url} cannot be reached") if is_old else None)
            return None if is_old else found
        except CometError as error:
            is_away = isinstance(error, UnreachableError)
            if not is_away and (error.retry_after is None or time.monotonic() >= self.end):
                raise
            self._note(error if is_away else None)
            self._sleep(error.retry_after or 1.0)
            return None
        finally:
            self.client.cached_at, self.client.connection.ask_until = before, math.inf

    def _note(self, trouble: Optional[CometError]) -> None:
        """Report that the server cannot be asked, once until it answers."""
        if trouble is not None and self.trouble is None and time.monotonic() < self.end:
            self.report(f"{trouble}; it is asked again")
        self.trouble = trouble

    def _sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, min(seconds, self.end - time.monotonic())))
