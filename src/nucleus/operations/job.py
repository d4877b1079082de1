"""An operation in the hands of a worker: its steps are stored, one after the other, before the next begins."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from nucleus.backends.rocks_output import State
from nucleus.configuration import BatchSettings, MailSettings
from nucleus.mirror import clusters, observations, operations
from nucleus.mirror.events import NEWS, WORK, append_events
from nucleus.operations.causes import CAUSE, CancelledError, RefusedError, UnfinishedError, owners_text
from nucleus.records import SYSTEM, Cluster, JsonObject, NewEvent, Node, Operation
from nucleus.states import CANCELLED, QUEUED, RUNNING, outcome_of, power_of
from rocks.core.errors import BusyError, HostError, RocksError, ToolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from nucleus.backends.rocks import Done, Rocks
    from nucleus.configuration import WorkSettings
    from nucleus.mirror.pool import Pool, Session

T = TypeVar("T")
_LOG = logging.getLogger(__name__)

_DATABASE_PAUSE_SECONDS = 1.0
_MAX_CAUSE = 2000


class LostError(Exception):
    """Another worker has the operation, or this process stops: the next worker stores its outcome."""


class LaterError(Exception):
    """The operation is to be queued again; after `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class Tools(NamedTuple):
    """What all jobs of a process share."""

    pool: Pool
    rocks: Rocks
    settings: WorkSettings
    stop: threading.Event
    batch: BatchSettings = BatchSettings()
    mail: MailSettings = MailSettings()


class Job:
    """One operation; `node` and `cluster` are its targets, where it has them, after `load`.

    The database may be away for a while: what a job stores is tried again until it is stored, or the process stops.
    """

    def __init__(self, tools: Tools, operation: Operation) -> None:
        self.tools, self.rocks = tools, tools.rocks
        self.operation = operation
        self.node: Node | None = None
        self.cluster: Cluster | None = None

    @property
    def target(self) -> Node:
        """The node of an operation that has one. RefusedError when it is gone."""
        if self.node is None or self.node.gone_at is not None:
            raise RefusedError("the node was removed from the site")
        return self.node

    def transaction(self, act: Callable[[Session], T]) -> T:
        """Do something in a transaction; again while the database is away. LostError when this process stops."""
        while True:
            try:
                with self.tools.pool.transaction() as session:
                    return act(session)
            except (HostError, BusyError):
                if self.tools.stop.wait(_DATABASE_PAUSE_SECONDS):
                    raise LostError from None

    def load(self, session: Session) -> None:
        """Read what the operation is about."""
        if self.operation.target_node is not None:
            self.node = clusters.nodes_by_id(session, SYSTEM, [self.operation.target_node]).get(
                self.operation.target_node
            )
        number = self.node.cluster_id if self.node else self.operation.target_cluster
        if number is not None:
            self.cluster = clusters.find_cluster_by_id(session, SYSTEM, number)

    def has(self, step: str) -> bool:
        """Whether the step is stored."""
        return any(one.get("step") == step for one in self.operation.progress)

    def store(self, step: str, **details: Any) -> None:
        """Store a step. LostError when another worker has the operation."""
        record: JsonObject = {"step": step, **details}
        if not self.transaction(lambda session: operations.store_step(session, self.operation, record)):
            raise LostError
        self.operation.progress.append(record)

    def begin_command(self, step: str) -> None:
        """Store that a command of the node begins: polls that began before it do not count for the node."""
        self.store(step)
        began = "last_command_at = UTC_TIMESTAMP(3)"
        self.transaction(lambda session: session.update("node", {}, began, id=self.target.id))

    def reached(self, step: str, is_reached: Callable[[str | None], bool]) -> str | None:
        """The state, where it is the expected one without the step; it is read only if the mirror has it, or an earlier
        attempt has begun the step."""
        may_be = self.has(step) or is_reached(self.target.state)
        state = self.read_state() if may_be else None
        return state if is_reached(state) else None

    def act(self, step: str, command: Callable[[str], Done]) -> tuple[str | None, RocksError | None]:
        """Have the node started or stopped, as the step; its state then, which is recorded, and the error, if any."""
        self.begin_command(step)
        try:
            seen, error = command(self.target.machine)
        except (ToolError, HostError) as failure:  # it may have been done nevertheless
            return self.read_state(), failure
        return self.read_state() if seen is None else self._record(seen), error

    def read_state(self) -> str | None:
        """The node's state now, which is recorded. ToolError as `rocks` reports it."""
        return self._record(self.rocks.read_state(self.target.machine))

    def _record(self, seen: State) -> str | None:
        node, cluster = self.target, self.cluster
        host, state = seen
        name, project = (cluster.name, cluster.project_id) if cluster else ("", None)
        self.transaction(lambda session: observations.record_state(session, node, name, project, state, host))
        self.node = node._replace(state=state, physical_host=host)
        if state != node.state:
            NEWS.give()
            WORK.give()
        return state

    def confirm(self, state: str | None, is_reached: Callable[[str | None], bool], what: str) -> str | None:
        """Read the state after 1, 2, 4, 8 … seconds until it is the expected one, which it may be now; returns it.

        UnfinishedError when it is not within the time of the settings; LostError when this process stops: the next
        worker reads on.
        """
        pause, waited = 1.0, 0.0
        while not is_reached(state):
            if waited >= self.tools.settings.confirm_seconds:
                raise UnfinishedError(
                    f"{self.target.name} is not {what} after {waited:.0f} seconds: its power is {power_of(state)};"
                    f" try again; if this lasts, ask the site's operators, and name operation {self.operation.id}"
                )
            if self.tools.stop.wait(pause):
                raise LostError
            waited, pause = waited + pause, min(pause * 2, 8.0)
            state = self.read_state()
        return state

    def end(self, result: JsonObject | None, error: RocksError | None) -> None:
        """Store the outcome, with its event."""
        problem = None if error is None else self._problem(error)
        new = outcome_of(problem)

        def store(session: Session) -> bool:
            is_ours = operations.end_operation(session, self.operation, result, problem)
            if is_ours:
                if self.cluster is not None:
                    clusters.bump_generation(session, [self.cluster.id])
                append_events(session, [self._event(new)])
            return is_ours

        if self.transaction(store):
            NEWS.give()
            WORK.give()

    def put_back(self, seconds: float, error: RocksError | None = None) -> None:
        """Queue it again."""
        problem = None if error is None else self._problem(error)

        def store(session: Session) -> None:
            if operations.put_back(session, self.operation, seconds, problem):
                append_events(session, [self._event(QUEUED)])

        self.transaction(store)
        NEWS.give()

    def _problem(self, error: RocksError) -> JsonObject:
        """What is stored of an error: its family, and its texts for owners and for operators."""
        one = self.operation
        if isinstance(error, CancelledError):
            return {"code": CANCELLED, "detail": str(error)}
        _LOG.warning("operation %s (%s), attempt %d: %s", one.id, one.kind, one.attempts, error)
        other = "the reservation" if "interval" in one.arguments else "the image"
        what = self.node.name if self.node else self.cluster.name if self.cluster else other
        detail = owners_text(error, what, f"operation {one.id}")
        return {"code": error.family, "detail": detail, CAUSE: str(error)[:_MAX_CAUSE]}

    def _event(self, new: str) -> NewEvent:
        one = self.operation
        return NewEvent("operation.state", one.id, RUNNING, new, one.project_id, one.target_cluster, one.id)
