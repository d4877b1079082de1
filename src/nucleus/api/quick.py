"""Questions that clients ask all the time: each is answered in one thread, without a walk through the framework.

Who asks is found out in the thread of the handler, and the framework's work of a millisecond for each request (routes,
dependencies, validation of what is not there) is left out. What is answered is the same.

Only those with a token go this way: the identity provider is asked, and passwords are checked, in other threads.
Otherwise strangers could keep all of these waiting.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from starlette.requests import Request

from nucleus.api.authentication import has_token
from nucleus.api.problems import Problem, answer_of, problem_of
from nucleus.api.service import identify
from rocks.core.errors import RocksError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi.routing import APIRoute
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

_THREADS = 8


class Quick:
    """ASGI middleware around the routes. `routes`: GETs whose path has texts only, and which need no query."""

    def __init__(self, application: ASGIApp, routes: Sequence[APIRoute]) -> None:
        self._application = application
        self._routes = routes
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="quick")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and not scope["query_string"]:
            for route in self._routes:
                found = route.path_regex.match(scope["path"])
                if found is not None and has_token(request := Request(scope, receive)):
                    scope["state"]["route"] = route  # the counters want its pattern
                    loop = asyncio.get_running_loop()
                    response = await loop.run_in_executor(
                        self._threads, _answer, request, route, found.groupdict()
                    )
                    await response(scope, receive, send)
                    return
        await self._application(scope, receive, send)


def _answer(request: Request, route: APIRoute, values: Mapping[str, str]) -> Response:
    try:
        response: Response = route.endpoint(identify(request), **values)
        return response
    except Problem as problem:
        return answer_of(problem, request)
    except RocksError as error:
        return answer_of(problem_of(error), request)
