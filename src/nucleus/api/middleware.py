"""What holds for every request behind nginx: its path, its body, the refusals of nginx, a count."""

from __future__ import annotations

import contextlib
import logging
import re
import time
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request

from nucleus.api.problems import Problem, answer_of, limited
from nucleus.api.service import admit_body

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from nucleus.api.metrics import Metrics

BASE = "/nucleus"
"""Prefix of the published service; every path is answered with it and without."""

SMALL_BODY_BYTES = 16 << 10
_LARGEST_BODY_BYTES = 1 << 20

_WITHOUT_HEAD = re.compile(
    r"/(v1/events|v1/cluster/[^/]+/(frontend|compute/[^/]+)/console|getkey|session/provider/answer)$"
)
"""Paths whose GET does not end, or changes something: HEAD, which changes nothing (RFC 9110 §9.2.1), is refused."""

_LOG = logging.getLogger(__name__)


def _refusal_of(status: str) -> Problem:
    """The words for what nginx has refused. Its body may not have come: the connection ends."""
    headers = {"Connection": "close"}
    if status == "413":
        return Problem("too-large", "the body is larger than 1 MiB; only images may be", headers=headers)
    if status == "429":
        detail = "too many requests with these credentials, or from this address, at once; send it again in a second"
        return limited(detail, headers={"Retry-After": "1", **headers})
    return Problem(
        "timeout",
        "the request was not answered within 60 s, and may have taken effect: see your operations; repeat it only with"
        " the Idempotency-Key that it had",
        headers=headers,
    )


class Middleware:
    """ASGI middleware around the whole application."""

    def __init__(self, application: ASGIApp, metrics: Metrics) -> None:
        self._application = application
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        scope = _without_base(scope, headers)
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        begin, method, status = time.monotonic(), scope["method"], 0

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_for_the_log(scope)]
            await send(message)

        async def refuse(problem: Problem) -> None:
            if not status:  # after it has begun an answer cannot become another one
                response = answer_of(problem, Request(scope))
                with contextlib.suppress(OSError):
                    await response(scope, receive, sent)

        if method == "HEAD" and has_head(scope["path"]):
            # RFC 9110 §9.3.2; the server, which has a scope of its own, leaves the body out
            scope["method"] = "GET"
        try:
            refused = headers.get("x-nucleus-refused", "")
            if refused.isdigit():
                raise _refusal_of(refused)
            # the body of an upload that was refused is not read
            await self._application(scope, receive if refused else await _read(scope, receive), sent)
        except Problem as problem:
            await refuse(problem)
        except Exception:
            number = scope["state"]["request_id"]
            _LOG.exception("%s %s failed", scope["method"], number)
            detail = f"the request {number} failed; report it to the site's operators"
            await refuse(Problem("internal-error", detail))
        finally:
            self._metrics.count(method, scope, status, time.monotonic() - begin)


def has_head(path: str) -> bool:
    """Whether HEAD is answered as GET at the path, if there is GET."""
    return _WITHOUT_HEAD.match(path) is None


def _without_base(scope: Scope, headers: Headers) -> Scope:
    """The scope as if the path had neither the prefix nor a final slash; its state has what nginx says of it."""
    path = scope["path"]
    base = ""
    if path == BASE or path.startswith(BASE + "/"):
        base, path = BASE, path[len(BASE) :]
    path = path.rstrip("/") or "/"
    state = {
        **scope.get("state", {}),
        "base": base,
        "request_id": headers.get("x-request-id", ""),
        "traceparent": headers.get("traceparent") or None,
    }
    return {**scope, "path": path, "raw_path": path.encode(), "state": state}


async def _read(scope: Scope, receive: Receive) -> Receive:
    """Gives the application the body, then what follows it. Problem for a larger one, and as of `admit_body`."""
    parts: list[bytes] = []
    has_more, size = True, 0
    while has_more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem("request-timeout", "the client went away before its request was whole")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > _LARGEST_BODY_BYTES:
            raise Problem("too-large", "the body is larger than 1 MiB; only images may be")
        has_more = message.get("more_body", False)
    body = b"".join(parts)
    scope["state"]["body"] = body
    if len(body) > SMALL_BODY_BYTES:
        await run_in_threadpool(admit_body, Request(scope), len(body))

    async def replayed() -> Message:
        if parts:
            parts.clear()
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replayed


def _for_the_log(scope: Scope) -> list[tuple[bytes, bytes]]:
    """Who asked, as headers that nginx logs and does not send."""
    known = (("actor", scope["state"].get("actor")), ("token", scope["state"].get("token_id")))
    return [
        (f"x-nucleus-{name}".encode(), str(value).encode("latin-1", "replace"))
        for name, value in known
        if value
    ]
