"""What holds for every request: a number, limits of size and time, headers, one line of log, a count."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import secrets
import time
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request

from nucleus.api.access.credentials import without_secrets
from nucleus.api.listening import forwarded
from nucleus.api.problems import Problem, answer_of, limited
from nucleus.api.service import admit_body

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from nucleus.api.metrics import Metrics

BODY_SECONDS = 30.0
"""How long a client may take to send a body that is no upload."""

REQUEST_SECONDS = 60.0
"""How long the answer to a request that is no upload may take."""

MAX_BODY_BYTES = 1 << 20
"""Of a request that is no upload."""

BASE = "/nucleus"
"""Prefix of the published service; every path is answered with it and without."""

UNREAD_SECONDS, UNREAD_SILENCE_SECONDS = 30.0, 2.0
"""How long the rest of a refused upload is read, and how long the next part of it is waited for."""

SMALL_BODY_BYTES = 16 << 10
MAX_WAITING_BYTES = 64 << 20
"""Of all bodies that are not whole yet, without the first 16 KiB of each: who sends them is not known yet."""

LARGE_ANSWER_BYTES = 64 << 10
"""A larger answer is sent in pieces, as its client reads it: else all that is not read yet were copied for it."""

MAX_UNREAD_BYTES = 32 << 20
"""Of the large answers to one user that are not read yet."""

_PIECE_BYTES = 16 << 10

_UPLOADS = re.compile(r"/v1/image(/upload/[^/]+)?")
_TICKET = re.compile(r"^(/ws|/console)/.*")
_ENDLESS = ("/v1/events",)
"""Their answers end with the client only."""

_WITHOUT_HEAD = re.compile(
    r"/(v1/events|v1/cluster/[^/]+/(frontend|compute/[^/]+)/console|getkey|session/provider/answer)$"
)
"""Paths whose GET does not end, or changes something: HEAD, which changes nothing (RFC 9110 §9.2.1), is refused."""

_REQUEST_ID = re.compile(r"(?!nuc_)[A-Za-z0-9_.-]{1,64}")
"""Of a client's own: it is in the log, where no token may be."""

_TRACE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
}
"""On every answer that has none of its own; pages set their own policy."""

_RAW_HEADERS = [
    (name.lower().encode("ascii"), value.encode("ascii"))
    for name, value in [*HEADERS.items(), ("Cache-Control", "private, no-cache")]
]
"""As ASGI has them: names are small."""


_log = logging.getLogger("nucleus.access")


class Middleware:
    """ASGI middleware around the whole application. `has_proxy`: clients connect to a proxy, and only that to us."""

    def __init__(self, application: ASGIApp, metrics: Metrics, has_proxy: bool = False) -> None:
        self._application = application
        self._metrics = metrics
        self._has_proxy = has_proxy
        self._space = Space()
        self._unread = Unread()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        scope = _without_base(forwarded(scope, headers) if self._has_proxy else scope)
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        exchange = _Exchange(scope, send, headers, self._unread)
        if scope["method"] == "HEAD" and has_head(scope["path"]):
            # RFC 9110 §9.3.2; the server, which has a scope of its own, leaves the body out
            scope["method"] = "GET"
        try:
            await self._answer(scope, receive, exchange, headers)
        except Problem as problem:
            await exchange.refuse(problem)
        except Exception:
            _log.exception("%s %s failed", scope["method"], exchange.request_id)
            detail = f"the request {exchange.request_id} failed; report it to the site's operators"
            await exchange.refuse(Problem("internal-error", detail))
        finally:
            seconds = time.monotonic() - exchange.begin
            self._metrics.count(exchange.method, scope, exchange.status, seconds)
        exchange.log(time.monotonic())

    async def _answer(self, scope: Scope, receive: Receive, exchange: _Exchange, headers: Headers) -> None:
        path = scope["path"]
        if scope["method"] in ("POST", "PATCH") and _UPLOADS.fullmatch(path):
            upload = _Upload(receive, exchange.send)
            await self._application(scope, upload.receive, upload.send)
            return
        body = await read_body(receive, headers, self._space)
        scope["state"]["body"] = body
        if len(body) > SMALL_BODY_BYTES:
            await run_in_threadpool(admit_body, Request(scope), len(body))
        receive = _replay(body, receive)
        if path in _ENDLESS:
            await self._application(scope, receive, exchange.send)
            return
        try:
            async with asyncio.timeout(REQUEST_SECONDS) as exchange.timeout:
                await self._application(scope, receive, exchange.send)
        except TimeoutError:
            raise Problem(
                "timeout",
                f"the request was not answered within {REQUEST_SECONDS:.0f} s, and may have taken effect: see your"
                " operations; repeat it only with the Idempotency-Key that it had",
            ) from None


def has_head(path: str) -> bool:
    """Whether HEAD is answered as GET at the path, if there is GET."""
    return _WITHOUT_HEAD.match(path) is None


def _without_base(scope: Scope) -> Scope:
    """The scope as if the path had neither the prefix nor a final slash."""
    path = scope["path"]
    base = ""
    if path == BASE or path.startswith(BASE + "/"):
        base, path = BASE, path[len(BASE) :]
    path = path.rstrip("/") or "/"
    return {
        **scope,
        "path": path,
        "raw_path": path.encode(),
        "state": {**scope.get("state", {}), "base": base},
    }


class Space:
    """The memory for bodies that are not whole yet; used by one thread."""

    def __init__(self) -> None:
        self._bytes = 0

    def take(self, count: int) -> None:
        """Problem when so many more are too many; else `give_back` must follow."""
        if count and self._bytes + count > MAX_WAITING_BYTES:
            raise limited(
                "too many large requests are being sent at this moment; send it again in a second",
                headers={"Retry-After": "1", "Connection": "close"},
            )
        self._bytes += count

    def give_back(self, count: int) -> None:
        """So many less."""
        self._bytes -= count


class Unread:
    """The bytes of large answers that are being sent, by users; used by one thread."""

    def __init__(self) -> None:
        self._bytes = dict[str, int]()

    @contextlib.contextmanager
    def more(self, who: str, count: int) -> Iterator[None]:
        """They count until the end of the block. Problem when they are too many; one answer never is."""
        if who in self._bytes and self._bytes[who] + count > MAX_UNREAD_BYTES:
            raise limited(
                "too many large answers to you are not read yet; read them, or ask for less (limit, fields)",
                headers={"Retry-After": "5"},
            )
        self._bytes[who] = self._bytes.get(who, 0) + count
        try:
            yield
        finally:
            self._bytes[who] -= count
            if not self._bytes[who]:
                del self._bytes[who]


async def read_body(receive: Receive, headers: Headers, space: Space) -> bytes:
    """The whole body. Problem when it is too large or too slow, or when too many are being sent."""
    too_large = Problem(
        "too-large", f"the body is larger than {MAX_BODY_BYTES >> 20} MiB; only images may be"
    )
    length = headers.get("content-length", "")
    if length.isdigit() and (len(length) > 15 or int(length) > MAX_BODY_BYTES):
        raise too_large
    parts: list[bytes] = []
    size = taken = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Problem("request-timeout", "the client went away before its request was whole")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > MAX_BODY_BYTES:
                    raise too_large
                more = max(0, size - SMALL_BODY_BYTES) - taken
                space.take(more)
                taken += more
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError:
        raise Problem(
            "request-timeout",
            f"the body did not arrive within {BODY_SECONDS:.0f} s",
            headers={"Connection": "close"},
        ) from None
    finally:
        space.give_back(taken)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Gives the application the body that was read already, then what follows it."""
    left = [body]

    async def replayed() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return replayed


class _Upload:
    """A request whose body may be refused before it has come: what comes then is read for a while, and forgotten.

    A client that sends until it is done would get a reset of the connection instead of the answer.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._is_read = False

    async def receive(self) -> Message:
        """The next part of the body."""
        message = await self._receive()
        self._is_read = not message.get("more_body")
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer; its end when the client has had time to read it."""
        is_end = message["type"] == "http.response.body" and not message.get("more_body")
        if is_end and not self._is_read:
            await self._send({**message, "more_body": True})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(UNREAD_SECONDS):
                    while not self._is_read:
                        async with asyncio.timeout(UNREAD_SILENCE_SECONDS):
                            await self.receive()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)


class _Exchange:
    """One request and its answer, on the way out."""

    timeout: asyncio.Timeout | None = None
    """Of the answer: it ends when a large one begins to be sent."""

    def __init__(self, scope: Scope, send: Send, headers: Headers, unread: Unread) -> None:
        self._scope = scope
        self._unread = unread
        self._start: Message | None = None
        self.method = scope["method"]
        self._send = send
        self.begin = time.monotonic()
        given = headers.get("x-request-id", "")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(12)
        trace = headers.get("traceparent", "")
        self._trace = trace if _TRACE.fullmatch(trace) else None
        scope["state"].update(request_id=self.request_id, traceparent=self._trace)
        self.status = 0
        self.is_begun = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = [one for one in message["headers"] if one[0] != b"x-request-id"]
            names = {name for name, _ in given}
            message["headers"] = [
                *given,
                (b"x-request-id", self.request_id.encode("ascii")),
                *(one for one in _RAW_HEADERS if one[0] not in names),
            ]
            self._start = message  # goes with the first part of the body, after which nothing can be refused
            return
        start, self._start = self._start, None
        body = message.get("body", b"")
        if start is not None and len(body) > LARGE_ANSWER_BYTES and not message.get("more_body"):
            try:
                await self._send_in_pieces(start, body)
            except Problem as problem:
                await self.refuse(problem)
            return
        if start is not None:
            await self._begin(start)
        await self._send(message)

    async def _begin(self, start: Message) -> None:
        self.is_begun = True
        await self._send(start)

    async def _send_in_pieces(self, start: Message, body: bytes) -> None:
        client = self._scope.get("client") or ("",)
        with self._unread.more(self._scope["state"].get("actor") or f"from {client[0]}", len(body)):
            if self.timeout is not None:
                self.timeout.reschedule(None)
            await self._begin(start)
            for at in range(0, len(body), _PIECE_BYTES):
                has_more = at + _PIECE_BYTES < len(body)
                piece = body[at : at + _PIECE_BYTES]
                await self._send({"type": "http.response.body", "body": piece, "more_body": has_more})

    async def refuse(self, problem: Problem) -> None:
        """Answer with the problem, unless the answer has begun."""
        if not self.is_begun:
            response = answer_of(problem, Request(self._scope))
            with contextlib.suppress(OSError):
                await response(self._scope, _disconnected, self.send)

    def log(self, now: float) -> None:
        """One JSON object a line, without what may be secret: tickets of consoles, queries, headers."""
        path = self._scope["path"]
        record: dict[str, Any] = {
            "request": self.request_id,
            "method": self.method,
            "path": without_secrets(_TICKET.sub(r"\1/…", path))[:200],
            "status": self.status,
            "seconds": round(now - self.begin, 4),
            "actor": self._scope["state"].get("actor"),
            "token": self._scope["state"].get("token_id"),
        }
        if self._trace:
            record["traceparent"] = self._trace
        _log.info("%s", json.dumps(record))


async def _disconnected() -> Message:
    return {"type": "http.disconnect"}
