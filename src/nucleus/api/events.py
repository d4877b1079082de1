"""Events as they happen, by SSE: one reader of the database for all streams of the process."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Header, Query
from pydantic import BeforeValidator
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from nucleus.api.decorators import route
from nucleus.api.problems import Problem
from nucleus.api.representations import text_of
from nucleus.api.service import Known, find_cluster, reading, service_of
from nucleus.mirror import clusters, events, identity
from nucleus.records import SYSTEM
from nucleus.states import ENDED_OPERATIONS
from rocks.core.errors import RocksError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from starlette.types import Receive, Send
    from starlette.types import Scope as ConnectionScope

    from nucleus.api.service import Call, Reading, Service
    from nucleus.mirror.pool import Pool, Session
    from nucleus.records import Event, Scope

router = APIRouter()

RIGHTS_SECONDS = 15.0
"""How often a stream looks whether its client may still see it."""
_ALIVE_SECONDS = 3.0
"""How often `alive` comes, also while events come, of which a page may use none: it notices that the service hangs."""
_ALIVE = "event: alive\ndata: null\n\n"
"""An event, since EventSource of browsers passes no comment on; its data is no object, since `comet` skips those."""
_MAX_WAITING = 1000
_LOOK_SECONDS, _PAUSE_SECONDS = 0.5, 0.1
_EVERYBODYS = ("poll.stale", "poll.fresh")

EventType = Literal[
    "node.power", "node.image", "node.removed", "set.state", "set.ready", "set.ends", "operation.state", "image.added",
    "image.removed", "alarm", "poll.stale", "poll.fresh",
]  # fmt: skip
Types = Annotated[
    list[EventType] | None,
    BeforeValidator(lambda given: [kind for one in given for kind in one.split(",")]),
    Query(description="repeated, or with commas"),
]


@dataclass
class Stream:
    """One client: what it may see, what it asked for, and what waits for it."""

    scope: Scope
    cluster_id: int | None
    types: tuple[str, ...]
    loop: asyncio.AbstractEventLoop
    after: int = 0
    waiting: asyncio.Queue[tuple[int, str] | None] = field(
        default_factory=lambda: asyncio.Queue(_MAX_WAITING)
    )
    is_lost: bool = False

    def wants(self, event: Event) -> bool:
        """Whether it may and shall see the event."""
        if self.types and event.type not in self.types:
            return False
        if self.cluster_id is not None and event.cluster_id != self.cluster_id:
            return False
        return event.type in _EVERYBODYS or self.scope.is_operator or event.project_id in self.scope.projects

    def offer(self, number: int, text: str) -> None:
        """Put an event into its queue, in its loop; a client that does not read loses the stream."""
        if number <= self.after or self.is_lost:
            return
        self.after = number
        try:
            self.waiting.put_nowait((number, text))
        except asyncio.QueueFull:
            self.is_lost = True
            self.waiting.get_nowait()
            self.waiting.put_nowait(None)


class Hub:
    """Reads new events once, gives each stream its own, and wakes who waits for an operation that has ended.

    Its thread runs while there are such.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._by_id: dict[int, Stream] = {}
        self._watches: dict[str, list[Callable[[], None]]] = {}
        self._watch_lock = threading.Lock()  # never held while the database is asked: the loop takes it
        self._thread: threading.Thread | None = None

    @property
    def count(self) -> int:
        """How many streams there are, of all users."""
        return len(self._by_id)

    def add(self, stream: Stream) -> int:
        """Begin to fill the stream; the number of the last event before, as `_missed` takes it."""
        with self._lock:
            with self._pool.transaction() as session:
                last = events.last_event(session)
            stream.after = last
            self._by_id[id(stream)] = stream
            self._start(last)
        return last

    def watch(self, operation: str, wake: Callable[[], None]) -> None:
        """Have `wake` called when the operation ends; `unwatch` must follow, also after an error.

        Look after this whether it has ended already. Raises what the database does.
        """
        with self._watch_lock:
            self._watches.setdefault(operation, []).append(wake)
        with self._lock:
            if self._thread is None:
                with self._pool.transaction() as session:
                    last = events.last_event(session)
                self._start(last)

    def unwatch(self, operation: str, wake: Callable[[], None]) -> None:
        """Call it no more."""
        with self._watch_lock:
            left = [one for one in self._watches.get(operation, ()) if one is not wake]
            if left:
                self._watches[operation] = left
            else:
                self._watches.pop(operation, None)

    def _start(self, last: int) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, args=(last,), name="events", daemon=True)
            self._thread.start()

    def remove(self, stream: Stream) -> None:
        """Fill it no more. Without the lock: the event loop calls this, and `add` holds it over a question."""
        self._by_id.pop(id(stream), None)

    def _run(self, last: int) -> None:
        seen = events.NEWS.number
        while True:
            with self._lock:
                if not self._by_id and not self._watches:
                    self._thread = None
                    return
            try:
                last = self._read(last)
            except RocksError:  # the database is away: look again
                pass
            seen = events.NEWS.wait(seen, _LOOK_SECONDS)

    def _read(self, last: int) -> int:
        with self._pool.transaction() as session:
            found = events.events_after(session, SYSTEM, last)
            texts = _texts(session, found) if self._by_id else []
        self._wake({event.target for event in found if event.new in ENDED_OPERATIONS})
        with self._lock:
            streams = list(self._by_id.values())
        for stream in streams:
            for event, text in texts:
                if stream.wants(event):
                    stream.loop.call_soon_threadsafe(stream.offer, event.id, text)
        return found[-1].id if found else last

    def _wake(self, ended: set[str]) -> None:
        """Events of operations have their identifiers as targets; nothing else is called like one."""
        with self._watch_lock:
            waking = [wake for operation in ended for wake in self._watches.get(operation, ())]
        for wake in waking:
            wake()


def _missed(call: Call, stream: Stream, after: int, last: int) -> list[tuple[int, str]]:
    """The next events of the stream between both numbers; none: that was all."""

    def read(reading: Reading) -> list[tuple[int, str]]:
        session = reading.session
        found = events.events_after(session, stream.scope, after, stream.cluster_id, stream.types)
        return [(one.id, text) for one, text in _texts(session, found) if one.id <= last]

    return reading(call, read)


def _texts(session: Session, found: Sequence[Event]) -> list[tuple[Event, str]]:
    """Each event as a stream has it."""
    if not found:
        return []
    projects = {one.id: one.name for one in identity.list_projects(session)}
    known = clusters.clusters_by_id(session, SYSTEM, {one.cluster_id for one in found if one.cluster_id})
    texts = []
    for event in found:
        cluster = known.get(event.cluster_id or 0)
        data = {
            "at": text_of(event.at),
            "project": projects.get(event.project_id or 0),
            "cluster": cluster.name if cluster else None,
            "target": event.target,
            "old": event.old,
            "new": event.new,
            "operation": event.operation,
        }
        texts.append((event, f"id: {event.id}\nevent: {event.type}\ndata: {json.dumps(data)}\n\n"))
    return texts


@route(
    router,
    "GET /v1/events",
    "events",
    "What changes, as it happens",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def follow(
    call: Known,
    cluster: Annotated[str | None, Query(max_length=128)] = None,
    types: Types = None,
    last_event_id: Annotated[str | None, Header(max_length=20)] = None,
) -> Response:
    """Server-sent events. `Last-Event-ID` brings what was missed in the last hours.

    The event `alive`, whose data is `null`, comes every 3 seconds.
    """
    service = service_of(call.request)
    hub: Hub = call.request.app.state.hub
    cluster_id = await run_in_threadpool(_cluster_id, call, cluster)
    after = (
        int(last_event_id) if last_event_id and last_event_id.isascii() and last_event_id.isdigit() else None
    )
    stream = Stream(call.scope, cluster_id, tuple(dict.fromkeys(types or ())), asyncio.get_running_loop())
    last = await run_in_threadpool(hub.add, stream)
    return _Answer(
        _lines(call, service, stream, (last if after is None else after, last)), lambda: hub.remove(stream)
    )


class _Answer(StreamingResponse):
    """A stream that ends with its connection, also when that is gone before the first line."""

    def __init__(self, lines: AsyncIterator[str], end: Callable[[], None]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(lines, headers=headers, media_type="text/event-stream")
        self._end = end

    async def __call__(self, scope: ConnectionScope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._end()


def _cluster_id(call: Call, name: str | None) -> int | None:
    if name is None:
        return None
    return reading(call, lambda it: find_cluster(it, name).id)


async def _lines(call: Call, service: Service, stream: Stream, missed: tuple[int, int]) -> AsyncIterator[str]:
    """What the stream has missed between two numbers, as its client reads it, and then what happens."""
    loop = asyncio.get_running_loop()
    check_at = loop.time() + RIGHTS_SECONDS  # also while events come: nobody keeps a right by being busy

    async def has_right() -> bool:
        """Look again; not when the token was revoked, or the database is away: the client comes again."""
        nonlocal check_at
        try:
            caller = await run_in_threadpool(service.authenticator.identify, call.request, is_again=True)
        except (Problem, RocksError):
            return False
        stream.scope = caller.scope
        check_at = loop.time() + RIGHTS_SECONDS
        return True

    yield "retry: 2000\n: connected\n\n"
    after, last = missed
    while after < last:
        if loop.time() >= check_at and not await has_right():
            return
        try:
            with service.missed_events.one_more(call.caller.user.id):
                found = await run_in_threadpool(_missed, call, stream, after, last)
        except Problem:  # the user's others read, or have taken long: without a thread meanwhile
            await asyncio.sleep(_PAUSE_SECONDS)
            continue
        for _, text in found:
            yield text
        after = found[-1][0] if found else last
    alive_at = loop.time() + _ALIVE_SECONDS
    while True:
        if loop.time() >= check_at and not await has_right():
            return
        if loop.time() >= alive_at:
            yield _ALIVE
            alive_at = loop.time() + _ALIVE_SECONDS
        try:
            async with asyncio.timeout_at(min(check_at, alive_at)):
                item = await stream.waiting.get()
        except TimeoutError:
            continue
        if item is None:
            yield "event: lost\ndata: {}\n\n"
            return
        yield item[1]
