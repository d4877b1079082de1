"""What the handlers have: settings, database, the caller; and the one way in which something is changed."""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

from fastapi import Depends, Request
from starlette.responses import Response

from nucleus.api import idempotency
from nucleus.api.access.authentication import require
from nucleus.api.access.credentials import without_secrets
from nucleus.api.access.throttles import AtOnce, DailyRate, Rate
from nucleus.api.cached_clusters import CachedClusters
from nucleus.api.etags import json_answer
from nucleus.api.problems import Problem, conflict, problem_of, wants_operation
from nucleus.api.quotas import demand_short_queue
from nucleus.api.recent_answers import RecentAnswer
from nucleus.api.representations import operation_json
from nucleus.mirror import audit, clusters, operations
from nucleus.mirror.driver import NoConnectionError
from nucleus.mirror.events import NEWS, WORK, append_events
from nucleus.records import NewEvent, NewOperation
from nucleus.states import SUCCEEDED, power_of
from rocks.core.errors import BusyError, RocksError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nucleus.api.access.authentication import Authenticator, Caller
    from nucleus.api.metrics import Metrics
    from nucleus.backends.rocks import Rocks
    from nucleus.configuration import Configuration
    from nucleus.mirror.audit import Entry
    from nucleus.mirror.pool import Pool, Session
    from nucleus.parts import Verifier
    from nucleus.records import Cluster, Node, Operation, Scope

_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?|\[[0-9a-fA-F:]+\](:[0-9]{1,5})?")
_ATTEMPTS = 3

LONG_SECONDS, SECONDS_OF_A_REQUEST = 0.01, 0.005
"""Seconds of a processor: what takes longer counts as many requests. Lists of thousands of nodes take 0.1 s."""

BODY_BYTES_OF_A_REQUEST = 16 << 10
"""A larger body counts as many requests: to read JSON of 1 MiB takes up to 0.3 s of a processor."""

_ENDINGS = frozenset(
    ("poweroff", "shutdown", "poweroff_set", "shutdown_set", "cancel_operation", "cancel_reservation", "revoke_token",
     "logout", "delete_image", "destroy", "sign_in", "login")
)  # fmt: skip
"""Actions that end something, and sign-ins, without which their user could end nothing."""

Found = TypeVar("Found")


@dataclass
class Service:
    """One for each application."""

    configuration: Configuration
    pool: Pool
    authenticator: Authenticator
    metrics: Metrics
    rocks: Rocks
    verifier: Verifier | None = None
    cached_clusters: CachedClusters = field(default_factory=CachedClusters)
    change_rate: Rate = field(default_factory=lambda: Rate("changes", 20, 20, max_waiting=4))
    """The published client sends a change for each node, one after the other, and repeats none that is refused."""

    changes: AtOnce = field(default_factory=lambda: AtOnce("changes under way", 4, None, 1, wait_seconds=0.5))
    """Each has a connection to the database, also while it waits for a row; a further one waits in a thread."""

    daily_changes: DailyRate = field(init=False)
    """Each leaves its operation and its entry in the audit log; one of many nodes counts for each."""

    daily_endings: DailyRate = field(init=False)
    """Changes of `_ENDINGS` in a day: a user who has had all changes of the day can still end what is charged."""

    all_changes: AtOnce = field(init=False)
    """Changes of all users. Four users who waited for rows had all 16 connections: a quarter is for readings."""

    request_rate: Rate = field(default_factory=lambda: Rate("requests", 100, 200))
    """For what is charged; how often a token, password or key asks is bounded by nginx."""

    unknown_rate: Rate = field(default_factory=lambda: Rate("requests that are refused", 20, 20))
    """Each is recorded in the audit log."""

    readiness: RecentAnswer[dict[str, str]] = field(default_factory=lambda: RecentAnswer(1.0))
    metrics_text: RecentAnswer[bytes] = field(default_factory=lambda: RecentAnswer(5.0))
    """Anybody may ask for both; the counters take ten statements."""

    cluster_images: RecentAnswer[list[str]] = field(default_factory=lambda: RecentAnswer(30.0))
    """Of this site, for reservations: `rocks` is asked."""

    missed_events: AtOnce = field(default_factory=lambda: AtOnce("readings of missed events", 1))
    consoles: AtOnce = field(default_factory=lambda: AtOnce("consoles", 8, max_of_all=64, of_group="project"))
    console_logs: AtOnce = field(default_factory=lambda: AtOnce("reads of consoles", 2, 8, retry_seconds=5))
    screens: AtOnce = field(default_factory=lambda: AtOnce("pictures of screens", 2, 8, retry_seconds=5))
    """Each starts a program on a host, and waits for it. Pages ask for pictures by themselves, people for logs."""

    forecasts: AtOnce = field(
        default_factory=lambda: AtOnce("estimates of the scheduler", 1, 4, retry_seconds=1)
    )
    """Each starts programs of Slurm."""

    waits: AtOnce = field(default_factory=lambda: AtOnce("requests that wait for operations", 100))
    arrivals: dict[str, Any] = field(default_factory=dict)
    """nginx's number of a request → what was decided before its body came; until nginx has logged its end."""

    hashings: AtOnce = field(default_factory=lambda: AtOnce("images that are hashed", 1, max_of_all=2))
    """Each takes a processor, for a minute where the image is large. The others wait for their turn."""

    def __post_init__(self) -> None:
        most = self.configuration.database.connections
        self.all_changes = AtOnce("changes under way", most, max(1, most * 3 // 4), 1, wait_seconds=5)
        most = self.configuration.history.changes_a_day
        self.daily_changes = DailyRate("changes of nodes", most)
        self.daily_endings = DailyRate("changes that end something", most)

    def has_ended(self, number: str) -> None:
        """Forget what was decided of a request that is over, unless its body came: then it is being stored."""
        if number in self.arrivals and not self.arrivals[number].is_received:
            self.arrivals.pop(number, None)

    def take_change(self, caller: Caller, action: str) -> None:
        """Count a change, or wait for its turn. Problem 429 when there were too many."""
        self.change_rate.take(caller)
        self.of_a_day(action).take(caller)

    def of_a_day(self, action: str) -> DailyRate:
        """What changes of this kind are counted by."""
        return self.daily_endings if action in _ENDINGS else self.daily_changes


class Call:
    """A request of somebody who is known. `has_password`: its body, of which then nothing may be stored."""

    def __init__(
        self, request: Request, service: Service, caller: Caller, *, has_password: bool = False
    ) -> None:
        self.request = request
        self.service = service
        self.caller = caller
        self.scope = caller.scope
        self.has_password = has_password

    @property
    def now(self) -> datetime:
        """The moment, aware."""
        return datetime.now(UTC)

    def url(self, path: str) -> str:
        """The absolute address of a path, as the client reached this service."""
        return address_of(self.request, path)

    def entry(self, action: str, target: str, outcome: str) -> Entry:
        """A record of the audit log."""
        state, client = self.request.scope["state"], self.request.client
        return audit.Entry(
            self.caller.actor, action, target, outcome, self.caller.token_id, client.host if client else None,
            state["request_id"],
        )  # fmt: skip


def service_of(request: Request) -> Service:
    """The service of the application that got the request."""
    service: Service = request.app.state.service
    return service


def address_of(request: Request, path: str) -> str:
    """The absolute address of a path, as the client reached this service."""
    configured = service_of(request).configuration.service.url
    if configured:
        return f"{configured.rstrip('/')}{path}"
    host = request.headers.get("host", "")
    base = request.scope["state"]["base"]
    if not _HOST.fullmatch(host):
        return f"{base}{path}"
    return f"{request.url.scheme}://{host}{base}{path}"


def identify(request: Request) -> Call:
    """The request of a caller who is known. Problem 401 for others, and 429 for too many of one."""
    service = service_of(request)
    caller = request.scope["state"].get("caller") or service.authenticator.identify(request)
    service.request_rate.check(caller)
    return Call(request, service, caller)


def admit_body(request: Request, size: int) -> None:
    """Count a large body as several requests: no other one is answered while its JSON is read.

    Problem 401 for one of a stranger, and 429 as of `Rate.check`; then it is not read.
    """
    service = service_of(request)
    try:
        caller = service.authenticator.identify(request)
    except RocksError as error:
        raise problem_of(error, request) from error
    request.scope["state"]["caller"] = caller  # who has signed cannot be asked twice
    service.request_rate.check(caller)
    service.request_rate.charge(caller, size / BODY_BYTES_OF_A_REQUEST)


Known = Annotated[Call, Depends(identify)]
"""The annotation of a handler's argument: the request of a caller who is known; 401 for others."""


class Reading(NamedTuple):
    """A request that changes nothing: the session in which it is answered, and who asks."""

    session: Session
    call: Call
    scope: Scope


@contextlib.contextmanager
def charged(call: Call) -> Iterator[None]:
    """Have a block that takes long count as many requests. Problem 429 while the user waits for what others took."""
    rate, begin = call.service.request_rate, time.thread_time()
    rate.check(call.caller)
    try:
        yield
    finally:
        spent = time.thread_time() - begin
        if spent > LONG_SECONDS:
            rate.charge(call.caller, spent / SECONDS_OF_A_REQUEST)


def reading(call: Call, read: Callable[[Reading], Found]) -> Found:
    """What `read` finds or answers, which changes nothing; the refusal of what is not the caller's is recorded.

    Problem 429 as of `charged`.
    """
    require(call.caller, "read")
    try:
        with charged(call), call.service.pool.reading() as session:
            return read(Reading(session, call, call.scope))
    except Problem as problem:
        if problem.code.startswith("unknown-") or problem.code == "missing-scope":
            record_refusal(call, "read", problem)
        raise


def record_refusal(call: Call, action: str, problem: Problem) -> None:
    """Have the audit log say so, once. Problem 429 instead when there are too many; those of a rate are not in it."""
    if problem.code != "rate-limited" and not problem.is_recorded:
        call.service.unknown_rate.take(call.caller)
        _record(call, action, problem)


def _record(call: Call, action: str, problem: Problem) -> None:
    problem.is_recorded = True
    if not call.service.authenticator.recorded.has_one_more(call.caller.actor):
        return
    target = without_secrets(call.request.url.path)
    with call.service.pool.transaction() as session:
        audit.record(session, call.entry(action, target, problem.code))


class Change:
    """One transaction that changes something, with its records."""

    def __init__(self, session: Session, call: Call, action: str) -> None:
        self.session = session
        self.call = call
        self.caller = call.caller
        self.scope = call.scope
        self._action = action
        self.entries: list[Entry] = []
        self.events: list[NewEvent] = []

    def note(self, target: str, before: str | None = None, after: str | None = None) -> None:
        """Have the audit log say that the target was changed."""
        entry = self.call.entry(self._action, target, "accepted")
        self.entries.append(entry._replace(before=before, after=after))

    def count_nodes(self, nodes: int) -> None:
        """Have this change count for each of its nodes among those of the day."""
        self.call.service.of_a_day(self._action).charge(self.caller, nodes - 1)

    def enqueue(self, new: NewOperation, target: str) -> Operation:
        """Store an operation of the caller."""
        trace = self.call.request.scope["state"]["traceparent"]
        arguments = (
            {**new.arguments, "traceparent": trace} if trace and new.target_node is None else new.arguments
        )
        operation = operations.insert_operation(
            self.session,
            new._replace(actor=self.caller.actor, token_id=self.caller.token_id, arguments=arguments),
        )
        is_of_set = new.kind in ("start_set", "end_set")  # a full queue must not keep a set from its end
        nodes = len(new.arguments.get("nodes", ())) or 1
        self.count_nodes(nodes)
        if new.project_id is not None and new.unique_key is None and not is_of_set:
            demand_short_queue(self.session, new.project_id, nodes)
        self.note(target, after=operation.id)
        return operation

    def ask(
        self,
        kind: str,
        cluster: Cluster,
        node: Node | None = None,
        *,
        set_id: int | None = None,
        arguments: dict[str, Any] | None = None,
        target: str = "",
    ) -> Operation:
        """Store an operation of the caller for a cluster, or for a node of it. `target`: what the audit log says."""
        new = NewOperation(
            kind, "", cluster.id, node.id if node else None, set_id, project_id=cluster.project_id,
            arguments=arguments or {},
        )  # fmt: skip
        return self.enqueue(new, target or (f"{cluster.name}/{node.name}" if node else cluster.name))

    def record_done(
        self, kind: str, cluster: Cluster, result: dict[str, Any], node_id: int | None = None
    ) -> None:
        """Have the history say that the caller has done this to a cluster, or to a node of it."""
        new = NewOperation(
            kind, self.caller.actor, cluster.id, node_id, None, self.caller.token_id, cluster.project_id
        )
        number = operations.record_done(self.session, new, result)
        self.events.append(
            NewEvent("operation.state", number, None, SUCCEEDED, cluster.project_id, cluster.id, number)
        )


def changing(
    call: Call, scope: str, action: str, act: Callable[[Change], Found], *, has_key: bool = True
) -> Found:
    """What `act` answers, which changes something.

    Checked and kept: right, rate, place, idempotency key, one transaction with its records; refusals are recorded, but
    for those of rate and place. NoConnectionError.

    `has_key` False: of a request that changes something twice, the first time; its key is that of its answer. Then
    `act` may return anything.
    """
    try:
        require(call.caller, scope)
        call.service.take_change(call.caller, action)
        user = call.caller.user.id
        with call.service.changes.one_more(user), call.service.all_changes.one_more(user), charged(call):
            found: Found = _repeated(call, action, act, idempotency.key_of(call) if has_key else None)
    except Problem as problem:
        if problem.code != "rate-limited":
            _record(call, action, problem)
        raise
    WORK.give()
    NEWS.give()
    return found


def _repeated(call: Call, action: str, act: Callable[[Change], Any], key: str | None) -> Any:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with call.service.pool.transaction() as session:
                return _once(session, call, action, act, key)
        except NoConnectionError:  # the wait was long, and the record of a refusal needs one, too
            raise
        except RocksError as error:
            if not isinstance(error, BusyError) or attempt == _ATTEMPTS:  # two requests need the same rows
                raise problem_of(error, call.request) from error
    raise AssertionError


def _once(session: Session, call: Call, action: str, act: Callable[[Change], Any], key: str | None) -> Any:
    if key is not None:
        before = idempotency.claimed(session, call, key)
        if before is not None:
            return before
    change = Change(session, call, action)
    response = act(change)
    if key is not None:
        idempotency.keep(session, call, key, response)
    append_events(session, change.events)
    if change.entries:
        audit.record(session, *change.entries)
    return response


def accepted(
    change: Change, operation: Operation, names: tuple[str | None, str | None], legacy: Response | None = None
) -> Response:
    """The answer of what will be done: 202 with the operation, or that of the published service (204)."""
    legacy = legacy or no_content()
    place = change.call.url(f"/v1/operation/{operation.id}")
    if wants_operation(change.call.request):
        headers = {"Operation-Location": place, "Location": place, "Preference-Applied": "respond-async"}
        return json_answer(operation_json(operation, *names), 202, headers)
    legacy.headers["Operation-Location"] = place
    if "location" not in legacy.headers:
        legacy.headers["Location"] = place
    return legacy


def no_content() -> Response:
    """204."""
    return Response(None, 204)


def find_cluster(one: Reading | Change, name: str, *, lock: bool = False) -> Cluster:
    """The caller's cluster of this name. Problem when there is none, or it is somebody else's: both are one."""
    found = clusters.find_cluster(one.session, one.scope, name, lock)
    if found is None:
        detail = f"there is no cluster {name[:128]!r} of yours; `comet ll` lists them"
        raise Problem("unknown-cluster", detail)
    return found


def find_node(one: Reading | Change, cluster: Cluster, name: str | None, *, lock: bool = False) -> Node:
    """The compute of this name, or the frontend. Problem when there is none."""
    found = clusters.find_node(one.session, one.scope, cluster.id, name, lock)
    if found is None:
        raise unknown_node(cluster.name, name)
    return found


def known_power(node: Node) -> str:
    """on, off, paused or crashed, in words for owners. Problem when it is not known."""
    power = power_of(node.state, has_host=node.physical_host is not None)
    if power == "unknown":
        raise conflict(
            f"whether {node.name} is on is not known, because its host did not answer; try again in a minute"
        )
    return power


def unknown_node(cluster: str, name: str | None) -> Problem:
    """The refusal of a node that is not in the cluster."""
    if name is not None and name.casefold() == cluster.casefold():
        return Problem("unknown-node", f"{cluster} is the frontend: leave its name out, or name computes")
    what = "frontend" if name is None else f"node {name[:128]!r}"
    return Problem(
        "unknown-node", f"the cluster {cluster} has no {what}; `comet cluster {cluster}` lists its nodes"
    )
