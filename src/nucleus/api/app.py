"""The application: handlers, what is around them, and its description."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Match

from nucleus.api import clusters, events, health, nodes, operations
from nucleus.api.access.authentication import Authenticator, has_token
from nucleus.api.metrics import Metrics
from nucleus.api.middleware import BASE, Middleware, has_head
from nucleus.api.openapi import ABOUT, describe
from nucleus.api.problems import NOTHING, Problem, answer_of, invalid, invalid_values, problem_of
from nucleus.api.service import Service, identify
from nucleus.backends.executor import create_executor
from nucleus.backends.rocks import Rocks
from nucleus.parts import installed
from rocks.core.errors import RocksError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import APIRouter
    from fastapi.routing import APIRoute
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from nucleus.backends.executor import Executor
    from nucleus.configuration import Configuration
    from nucleus.mirror.pool import Pool

_ROUTERS = (
    clusters,
    nodes,
    operations,
    events,
    health,
)

_QUICK_THREADS = 8

_LARGEST_MESSAGE_BYTES = 1 << 20
"""Of what a browser sends to a console at once."""

_CLOSE_SECONDS = 2
"""How long open connections are waited for: watchers of events never end by themselves."""

_KEEP_ALIVE_SECONDS = 120
"""Longer than nginx keeps a connection: a request on one that ends at that moment would have no answer."""

_NO_HANDSHAKE = "ASGI callable returned without completing handshake."
logging.getLogger("uvicorn.error").addFilter(lambda record: record.msg != _NO_HANDSHAKE)
"""uvicorn 0.54 (websockets_sansio_impl.py) logs it of each WebSocket that is refused with a body: of a used ticket."""


class Quick:
    """ASGI middleware around the routes: what clients ask all the time is answered in one thread, past the framework.

    Who asks is found out in the thread of the handler, and the framework's work of a millisecond for each request
    (routes, dependencies, validation of what is not there) is left out. What is answered is the same.

    Only those with a token go this way: the identity provider is asked, and passwords are checked, in other threads.
    Otherwise strangers could keep all of these waiting. `routes`: GETs whose path has texts only, and which need no
    query.
    """

    def __init__(self, application: ASGIApp, routes: Sequence[APIRoute]) -> None:
        self._application = application
        self._routes = routes
        self._threads = ThreadPoolExecutor(_QUICK_THREADS, thread_name_prefix="quick")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and not scope["query_string"]:
            for route in self._routes:
                found = route.path_regex.match(scope["path"])
                if found is not None and has_token(request := Request(scope, receive)):
                    scope["state"]["route"] = route  # the counters want its pattern
                    loop = asyncio.get_running_loop()
                    response = await loop.run_in_executor(
                        self._threads, _answer_quickly, request, route, found.groupdict()
                    )
                    await response(scope, receive, send)
                    return
        await self._application(scope, receive, send)


def _answer_quickly(request: Request, route: APIRoute, values: Mapping[str, str]) -> Response:
    try:
        response: Response = route.endpoint(identify(request), **values)
        return response
    except Problem as problem:
        return _refusal(problem, request)
    except RocksError as error:
        return _refusal(problem_of(error, request), request)


def routers() -> list[APIRouter]:
    """All routers, those of the parts last."""
    return [
        *(module.router for module in _ROUTERS),
        *(one for part in installed().values() for one in part.routers()),
    ]


def create_application(configuration: Configuration, pool: Pool, executor: Executor | None = None) -> FastAPI:
    """The whole service as one ASGI application. It opens connections to the database when they are needed.

    `executor` None: that of the settings.
    """
    verifiers = [part.verifier(configuration) for part in installed().values()]
    verifier = next((one for one in verifiers if one is not None), None)
    metrics = Metrics()
    application = FastAPI(
        title="Nucleus",
        version="1",
        description=ABOUT,
        servers=[{"url": BASE}, {"url": "/"}],
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        strict_content_type=False,
    )
    application.state.service = Service(
        configuration,
        pool,
        Authenticator(pool, configuration.authentication, verifier.claims if verifier else None),
        metrics,
        Rocks(executor or create_executor(configuration.executor), configuration.poll.command_seconds),
        verifier,
    )
    application.state.hub = events.Hub(pool)
    for router in routers():
        application.include_router(router)
    application.add_exception_handler(Problem, _answer_error)
    application.add_exception_handler(RocksError, _answer_error)
    application.add_exception_handler(RequestValidationError, _answer_invalid)
    application.add_exception_handler(HTTPException, _answer_http)
    application.add_middleware(Quick, routes=clusters.quick_routes())
    application.add_middleware(Middleware, metrics=metrics)
    application.openapi = lambda: describe(application)  # type: ignore[method-assign]
    return application


def server_of(application: FastAPI) -> uvicorn.Server:
    """What answers the requests that nginx passes on, whose word for the address of a client counts."""
    return uvicorn.Server(
        uvicorn.Config(
            application,
            forwarded_allow_ips="*",
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_CLOSE_SECONDS,
            access_log=False,
            log_config=None,
            log_level=logging.WARNING,  # below that it logs the path of each WebSocket, which has a ticket
            ws_max_size=_LARGEST_MESSAGE_BYTES,
            server_header=False,
            lifespan="off",
        )
    )


def _refusal(problem: Problem, request: Request) -> Response:
    """A page for a person, where a part has one, else the answer for programs."""
    for part in installed().values():
        page = part.page_of_refusal(problem, request)
        if page is not None:
            return page
    return answer_of(problem, request)


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem | RocksError)
    return _refusal(error if isinstance(error, Problem) else problem_of(error, request), request)


async def _answer_invalid(request: Request, error: Exception) -> Response:
    """A value of another shape. What is wrong in the path names nothing that there is."""
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if any(one["loc"][0] == "path" for one in found):
        return _refusal(_unknown(request), request)
    return _refusal(invalid_values(error), request)


def _unknown(request: Request) -> Problem:
    """The answer as for a number or identifier that names nothing."""
    segments = request.url.path.split("/")
    if len(segments) > 3 and segments[1] == "v1":
        refusals = {"operation": operations.unknown_operation}
        for part in installed().values():
            refusals |= part.unknown
        if segments[2] in refusals:
            return refusals[segments[2]](segments[3][:64])
    return _nothing()


def _nothing() -> Problem:
    return Problem("not-found", NOTHING)


async def _answer_http(request: Request, error: Exception) -> Response:
    """What the framework itself refuses: an unknown path, a method that is not there, a body that is no JSON."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return _refusal(_nothing(), request)
    if error.status_code == 405:
        allowed = ", ".join(sorted(_methods(request)))
        problem = Problem("method-not-allowed", f"here can be done: {allowed}", headers={"Allow": allowed})
        return _refusal(problem, request)
    return _refusal(invalid("the body cannot be read; send JSON"), request)


def _methods(request: Request) -> set[str]:
    """The methods of all routes that have the path; of those without names in it, where there are any."""
    scope = {**request.scope, "method": "GET"}
    routes = [one for router in routers() for one in router.routes if one.matches(scope)[0] is not Match.NONE]
    exact = [one for one in routes if getattr(one, "path", None) == request.scope["path"]]
    found = {method for one in exact or routes for method in getattr(one, "methods", None) or ()}
    return found | {"HEAD"} if "GET" in found and has_head(request.scope["path"]) else found
