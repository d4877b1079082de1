"""Consoles: rows 20 and 21 of Table 1 (`decorators.route`), tickets, a WebSocket for each, and its page.

A ticket opens one console of one node once. Only its hash is stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import html
import logging
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from fastapi import APIRouter, Query, Request, WebSocket
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.websockets import WebSocketDisconnect, WebSocketState

from nucleus.api import models
from nucleus.api.access.authentication import caller_of, require
from nucleus.api.access.throttles import AtOnce
from nucleus.api.decorators import changes, route_of_nodes
from nucleus.api.etags import json_answer
from nucleus.api.problems import Problem, answer_of, conflict, request_id, unavailable
from nucleus.api.quotas import demand_limit
from nucleus.api.representations import text_of
from nucleus.api.service import (
    Change,
    Known,
    Reading,
    find_cluster,
    find_node,
    known_power,
    reading,
    service_of,
)
from nucleus.mirror import clusters, identity
from nucleus.operations.causes import owners_text
from nucleus.records import SYSTEM
from nucleus.states import power_of
from rocks.core.errors import RocksError

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from nucleus.api.service import Call, Service
    from nucleus.mirror.pool import Session
    from nucleus.records import Node


TICKET_SECONDS = 30
"""How long a ticket waits for its WebSocket."""

is_ticket = re.compile(r"[A-Za-z0-9_-]{43}").fullmatch
"""Whether a text has the form of a ticket: of another one the database need not be asked."""

_RETENTION_HOURS = 1
"""Pages that are loaded again show whose console they were."""


class Ticket(NamedTuple):
    """Whose ticket it is, and for what; `kind` is vnc or serial."""

    node_id: int
    kind: str
    user_id: int
    token_id: str | None


def issue_ticket(session: Session, new: Ticket) -> str:
    """A ticket of 256 random bits, as text for a URL."""
    text = secrets.token_urlsafe(32)
    session.execute(
        "INSERT INTO console_ticket (hash, node_id, kind, user_id, token_id, expires)"
        " VALUES (%s, %s, %s, %s, %s, UTC_TIMESTAMP(3) + INTERVAL %s SECOND)",
        (_hash(text), *new, TICKET_SECONDS),
    )
    session.execute(
        "DELETE FROM console_ticket WHERE expires < UTC_TIMESTAMP(3) - INTERVAL %s HOUR LIMIT 100",
        (_RETENTION_HOURS,),
    )
    return text


def use_ticket(session: Session, text: str) -> Ticket | None:
    """Use a ticket; None for one that is unknown, used or too old. Of two at once, one gets it."""
    digest = _hash(text)
    used = session.execute(
        "UPDATE console_ticket SET used_at = UTC_TIMESTAMP(3)"
        " WHERE hash = %s AND used_at IS NULL AND expires > UTC_TIMESTAMP(3)",
        (digest,),
    )
    if not used:
        return None
    row = session.row(
        "SELECT node_id, kind, user_id, token_id FROM console_ticket WHERE hash = %s", (digest,)
    )
    return Ticket(*row) if row else None


def console_of(session: Session, text: str) -> tuple[str, str, str] | None:
    """(cluster, node, frontend or compute) of a ticket, also of one that is used or too old; None: it is unknown."""
    row = session.row(
        "SELECT c.name, n.name, n.kind FROM console_ticket t JOIN node n ON n.id = t.node_id"
        " JOIN cluster c ON c.id = n.cluster_id WHERE t.hash = %s",
        (_hash(text),),
    )
    return (row[0], row[1], row[2]) if row else None


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


# --- the bytes of an open console, both ways, between a WebSocket and a socket of `rocks`


PIECE_BYTES = 65536
_CLOSE_SECONDS = 5.0

ENDED, REVOKED, TOO_LONG = 1000, 4001, 4002
"""Why the service closes a WebSocket (RFC 6455 §7.4): the console ended; the right to it ended; its time is over."""


async def relay(
    client: WebSocket,
    console: socket.socket,
    is_still_allowed: Callable[[], Awaitable[bool]],
    check_seconds: float,
    max_seconds: float,
) -> int:
    """Relay until one end closes, the right to the console ends or the time is over; returns the code of the close.

    The WebSocket is accepted already, and is closed here; the caller closes `console`.
    """
    console.setblocking(False)
    ways = [
        asyncio.create_task(_to_console(client, console)),
        asyncio.create_task(_to_client(client, console)),
        asyncio.create_task(_watch(is_still_allowed, check_seconds)),
    ]
    done, _ = await asyncio.wait(ways, timeout=max_seconds, return_when=asyncio.FIRST_COMPLETED)
    code = TOO_LONG if not done else REVOKED if done == {ways[2]} else ENDED
    for way in ways:
        way.cancel()
    await asyncio.gather(*ways, return_exceptions=True)
    if client.client_state is WebSocketState.CONNECTED:
        # a client that reads nothing would hold the console for ever: the close waits until it can be written
        with contextlib.suppress(RuntimeError, OSError, WebSocketDisconnect):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await client.close(code)
    return code


async def _to_console(client: WebSocket, console: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        while True:
            message = await client.receive()
            if message["type"] != "websocket.receive":
                return
            data = message.get("bytes")
            if data is None:
                data = (message.get("text") or "").encode()
            await loop.sock_sendall(console, data)


async def _to_client(client: WebSocket, console: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError, WebSocketDisconnect, RuntimeError):  # either end has gone
        while data := await loop.sock_recv(console, PIECE_BYTES):
            await client.send_bytes(data)


async def _watch(is_still_allowed: Callable[[], Awaitable[bool]], check_seconds: float) -> None:
    while await is_still_allowed():
        await asyncio.sleep(check_seconds)


# --- rows


MAX_OF_HOST = 3
"""Pictures of screens at the same time, and as many consoles that are being opened."""

_OPENINGS = AtOnce("consoles that are being opened", 2, max_of_all=8)
_OPENING_THREADS = ThreadPoolExecutor(8, thread_name_prefix="console")
"""Each opening starts programs on a host, and waits for them."""

router = APIRouter()
_log = logging.getLogger("nucleus.console")

STATIC = Path(__file__).parent / "static"

CHECK_SECONDS = 5.0
"""How often an open console looks whether its owner may still have it."""

SUBPROTOCOL = "binary"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'{}; img-src 'self' data: blob:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_POLICIES = {"vnc": _POLICY.format(""), "serial": _POLICY.format(" 'unsafe-inline'")}
"""The policies of the console's pages. Scripts are files of ours; xterm.js makes style elements."""


class NewConsole(models.Request):
    """Which console: the screen, or the serial line."""

    type: Literal["vnc", "serial"] = "vnc"


class Console(BaseModel):
    """A ticket, where it is used, and until when its WebSocket must be opened."""

    ticket: str
    ws_url: str
    page_url: str
    expires_at: Annotated[str, Field(description="RFC 3339, UTC", json_schema_extra={"format": "date-time"})]


class ConsoleLog(BaseModel):
    """The last lines of a serial console, oldest first; where there are none, the reason."""

    lines: list[str]
    reason: str | None = None


_OPEN = ("open_compute_console", "open_frontend_console")
_LOG = ("compute_console_log", "frontend_console_log")
_SEE_OTHER: dict[str, Any] = {
    "status_code": 303,
    "response_class": PlainTextResponse,
    "responses": {303: {"headers": {"Location": {"schema": {"type": "string"}}}}},
}
Lines = Annotated[int, Query(ge=1, le=2000)]
MaxBytes = Annotated[
    int | None,
    Query(
        alias="bytes", ge=1, le=1 << 20, description="instead of lines: the last ones that these bytes hold"
    ),
]
_ALL_LINES = 10_000
"""Of one command of `rocks`, which prints at most 1 MB of them."""


@route_of_nodes(
    router,
    "POST /v1/cluster/{c}/NODE/console",
    _OPEN,
    "A ticket for the console of {}",
    Console,
    status_code=201,
)
@changes("console", "console")
def open_console(change: Change, c: str, n: str, body: NewConsole) -> Response:
    """The ticket opens one WebSocket, once, within 30 seconds."""
    ticket = _issue(change, c, n, body.type)
    call = change.call
    address = call.url(f"/ws/console/{ticket}")
    content = {
        "ticket": ticket,
        "ws_url": "ws" + address.removeprefix("http") if address.startswith("http") else address,
        "page_url": call.url(f"/console/{body.type}/{ticket}"),
        "expires_at": text_of(call.now + timedelta(seconds=TICKET_SECONDS)),
    }
    return json_answer(content, 201, {"Cache-Control": "no-store"})


@route_of_nodes(
    router,
    "GET /v1/cluster/{c}/NODE/console",
    ("show_compute_console", "show_frontend_console"),
    "To the screen of {}",
    **_SEE_OTHER,
)
@changes("console", "console")
def to_screen(change: Change, c: str, n: str) -> Response:
    """The address of a page with the screen, as header and as body."""
    ticket = _issue(change, c, n, "vnc")
    address = change.call.url(f"/console/vnc/{ticket}")
    return PlainTextResponse(address, 303, {"Location": address, "Cache-Control": "no-store"})


@route_of_nodes(
    router, "GET /v1/cluster/{c}/NODE/console/log", _LOG, "The last lines of {}'s serial console", ConsoleLog
)
def read_log(call: Known, c: str, n: str, lines: Lines = 200, max_bytes: MaxBytes = None) -> Response:
    """As the node's host keeps them, also when the node is off."""
    node = _node_to_look_at(call, c, n)
    if node.physical_host is None:
        return json_answer({"lines": [], "reason": f"{node.name} has never run"}, 200)
    try:
        with call.service.console_logs.one_more(call.caller.user.id):
            text = call.service.rocks.read_console(node.machine, _ALL_LINES if max_bytes else lines)
    except RocksError as error:
        raise _not_read(call, node, error) from None
    reason = f"{node.name} has written nothing to its serial console where it last ran; Linux does with console=ttyS0"
    last = _last_lines(text, max_bytes) if max_bytes else text
    return json_answer({"lines": last} if text else {"lines": [], "reason": reason}, 200)


def _last_lines(lines: list[str], max_bytes: int) -> list[str]:
    """Whole lines, with their ends, of at most so many bytes."""
    for index in range(len(lines), 0, -1):
        max_bytes -= len(lines[index - 1].encode()) + 1
        if max_bytes < 0:
            return lines[index:]
    return lines


@route_of_nodes(
    router,
    "GET /v1/cluster/{c}/NODE/console/screen",
    ("compute_screen", "frontend_screen"),
    "A picture of the screen of {}",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}},
)
def read_screen(call: Known, c: str, n: str) -> Response:
    """A PNG of this moment; 409 for a node that is not on."""
    node = _node_to_look_at(call, c, n)
    if power_of(node.state) not in ("on", "paused"):
        raise conflict(f"{node.name} is not on, so it has no screen; power it on first")
    try:
        with call.service.screens.one_more(call.caller.user.id, node.physical_host, MAX_OF_HOST):
            picture = call.service.rocks.read_screen(node.machine)
    except RocksError as error:
        raise _not_read(call, node, error) from None
    return Response(picture, media_type="image/png", headers={"Cache-Control": "no-store"})


def _node_to_look_at(call: Call, c: str, n: str | None) -> Node:
    def find(reading: Reading) -> Node:
        require(call.caller, "console")
        return find_node(reading, find_cluster(reading, c), n)

    return reading(call, find)


def _not_read(call: Call, node: Node, error: RocksError) -> Problem:
    name = request_id(call.request)
    _log.warning("request %s: the console of %s: %s", name, node.rocks_name, error)
    return unavailable(owners_text(error, node.name, f"request {name}"))


def _issue(change: Change, c: str, n: str | None, kind: str) -> str:
    call, cluster = change.call, find_cluster(change, c)
    node = find_node(change, cluster, n)
    if (power := known_power(node)) not in ("on", "paused"):
        raise conflict(f"{node.name} is {power}, so it has no console; power it on first")
    demand_console_quota(
        change.session, cluster.project_id, call.service.consoles.count_of(cluster.project_id)
    )
    new = Ticket(node.id, kind, call.caller.user.id, call.caller.token_id)
    change.note(f"{cluster.name}/{node.name}", after=kind)
    return issue_ticket(change.session, new)


# --- the WebSocket


@router.websocket("/ws/console/{ticket}")
async def console_socket(client: WebSocket, ticket: str) -> None:
    """Use a ticket: binary messages are the console's bytes. Refused before it is accepted: HTTP 403, ticket-used.

    A page of another site does not use a ticket up: 403, foreign-page. 429 for one console too many.
    """
    service: Service = client.app.state.service
    origin = client.headers.get("origin")  # other programs than browsers send none
    is_own = origin is None or origin.partition("://")[2] == client.headers.get("host")
    # in threads that only tickets have: strangers hold up neither other requests nor open consoles
    is_usable = is_own and is_ticket(ticket)
    used = await asyncio.to_thread(_use, service, ticket) if is_usable else None
    if used is None:
        cause = _TICKET_USED if is_own else _FOREIGN_PAGE
        problem = await asyncio.to_thread(_refusal, service, client, ticket, Problem(*cause))
        await client.send_denial_response(answer_of(problem, client))
        return
    try:
        with service.consoles.one_more(*used[1:]):
            await _serve(client, service, used[0])
    except Problem as problem:
        await client.send_denial_response(answer_of(problem, client))


_TICKET_USED = ("ticket-used", "the ticket was used, is too old, or is none of yours; ask for another one")
_FOREIGN_PAGE = (
    "foreign-page",
    "a page of another site may open no console; open it from the page of this service, or with comet console",
)


def _refusal(service: Service, client: WebSocket, ticket: str, problem: Problem) -> Problem:
    """The refusal of a ticket, which is recorded; who sent it is not known."""
    cluster, node, _ = _console_of(service, ticket)
    target = f"{cluster}/{node}" if node else "/ws/console"
    return service.authenticator.failure(client, f"ticket {target}", problem, "console", target)


def _console_of(service: Service, text: str) -> tuple[str, str, str]:
    """As `console_of`; without names for what is no ticket, of which the database is not asked."""
    if not is_ticket(text):
        return "", "", ""
    with service.pool.reading() as session:
        return console_of(session, text) or ("", "", "")


def _use(service: Service, text: str) -> tuple[Ticket, int, int | None, int | None] | None:
    """The ticket, its user, the project of its node, and how many consoles that may have open; None: no limit."""
    with service.pool.transaction() as session:
        used = use_ticket(session, text)
    node = None if used is None else _node_of(service, used)
    if used is None or node is None:
        return None
    with service.pool.transaction() as session:
        cluster = clusters.find_cluster_by_id(session, SYSTEM, node.cluster_id)
        number = cluster.project_id if cluster else None
        project = None if number is None else identity.project_by_id(session, number)
    return used, used.user_id, number, project.limits.get("consoles") if project else None


def _node_of(service: Service, ticket: Ticket) -> Node | None:
    """The node, as long as the owner of the ticket may have its console."""
    with service.pool.reading() as session:
        caller = caller_of(session, ticket.user_id, ticket.token_id)
        if caller is None or "console" not in caller.scope.scopes:
            return None
        node = clusters.nodes_by_id(session, caller.scope, [ticket.node_id]).get(ticket.node_id)
    return node if node is not None and node.gone_at is None else None


async def _serve(client: WebSocket, service: Service, ticket: Ticket) -> None:
    node = await run_in_threadpool(_node_of, service, ticket)
    if node is None:
        await client.close()
        return
    try:
        async with _OPENINGS.turn(ticket.user_id, node.physical_host, MAX_OF_HOST):
            loop = asyncio.get_running_loop()
            stream = await loop.run_in_executor(
                _OPENING_THREADS, service.rocks.open_console, node.machine, ticket.kind
            )
    except RocksError as error:
        _log.warning("the console of %s cannot be opened: %s", node.rocks_name, error)
        await client.close()
        return
    try:
        offered = client.scope.get("subprotocols") or []
        await client.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)

        async def is_still_allowed() -> bool:
            try:
                return await run_in_threadpool(_node_of, service, ticket) is not None
            except RocksError:
                return True  # the database is away for a moment; the right was there a moment ago

        seconds = service.configuration.console.most_minutes * 60.0
        code = await relay(client, stream.connection, is_still_allowed, CHECK_SECONDS, seconds)
        _log.info("the %s console of %s has ended: %d", ticket.kind, node.rocks_name, code)
    finally:
        reason = await run_in_threadpool(stream.close)
        if reason:
            _log.warning("the %s console of %s: %s", ticket.kind, node.rocks_name, reason)


# --- the pages


@router.get("/console/{kind}/{ticket}", include_in_schema=False)
def console_page(request: Request, kind: Literal["vnc", "serial"], ticket: str) -> Response:
    """The page of a ticket, whose script uses it. The name of the node on it is that of the ticket."""
    cluster, node, of = _console_of(service_of(request), ticket)
    names = f'data-cluster="{html.escape(cluster)}" data-node="{html.escape(node)}" data-kind="{of}"'
    text = (STATIC / f"{kind}.html").read_text("utf-8").replace("<html", f"<html {names}", 1)
    headers = {"Content-Security-Policy": _POLICIES[kind], "Cache-Control": "no-store"}
    return HTMLResponse(text, headers=headers)


def demand_console_quota(session: Session, project_id: int | None, open_now: int) -> None:
    """Problem when the project may not have one console more than are open now."""
    project = identity.project_by_id(session, project_id) if project_id is not None else None
    if project is not None:
        demand_limit(project, "consoles", open_now + 1)
