"""Decorators of handlers: how requests are declared and answered, each shape once.

The end of an operation is waited for without reading, and without a thread, until its event comes.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.concurrency import run_in_threadpool

from nucleus.api.problems import conflict, wants_operation
from nucleus.api.service import Known, changing, reading
from nucleus.limits import LONGEST_WAIT_SECONDS
from nucleus.mirror import operations
from nucleus.states import ENDED_OPERATIONS, FAILED

if TYPE_CHECKING:
    from fastapi import APIRouter
    from starlette.responses import Response

    from nucleus.api.events import Hub
    from nucleus.api.service import Call
    from nucleus.records import Operation

Handler = TypeVar("Handler", bound=Callable[..., Any])
Found = TypeVar("Found")


def route(
    router: APIRouter, request: str, name: str, summary: str, shape: Any = None, **more: Any
) -> Callable[[Handler], Handler]:
    """Decorates the handler of `METHOD PATH`. `name` is that of the operation in the published description.

    Modules state the rows of Table 1, Comet's REST interface, that they implement (docs/evidence/conformance.md).
    """
    method, path = request.split()
    return router.api_route(
        path, methods=[method], operation_id=name, summary=summary, response_model=shape, **more
    )


def route_of_nodes(
    router: APIRouter, request: str, names: tuple[str, str], summaries: str, shape: Any = None, **more: Any
) -> Callable[[Handler], Handler]:
    """As `route`, of a compute and of a frontend: for `NODE` in the path, and `{}` in the summary.

    The handler gets the compute's name as `n`, and None for the frontend.
    """

    def declare(handler: Handler) -> Handler:
        @functools.wraps(handler)
        def of_frontend(**values: Any) -> Any:
            return handler(n=None, **values)

        known = [one for one in _signature(handler) if one.name != "n"]
        of_frontend.__signature__ = inspect.Signature(known)  # type: ignore[attr-defined]
        compute, frontend = (summaries.format(what) for what in ("a compute node", "a frontend"))
        route(router, request.replace("NODE", "compute/{n}"), names[0], compute, shape, **more)(handler)
        route(router, request.replace("NODE", "frontend"), names[1], frontend, shape, **more)(of_frontend)
        return handler

    return declare


def reads(handler: Callable[..., Response]) -> Callable[..., Response]:
    """Decorates a handler that changes nothing; it gets a `Reading` first."""
    return _asked(handler, lambda call, act: reading(call, act))


def changes(scope: str, action: str) -> Callable[[Callable[..., Response]], Callable[..., Response]]:
    """Decorates a handler of what `changing` does; it gets the `Change` first."""
    return lambda handler: _asked(handler, lambda call, act: changing(call, scope, action, act))


def when_done(handler: Callable[..., Response]) -> Callable[..., Any]:
    """Decorates a handler of `changes` whose answer comes as that of `done`."""

    @functools.wraps(handler)
    async def answered(call: Call, **values: Any) -> Response:
        return await done(call, await run_in_threadpool(handler, call=call, **values))

    return answered


def _asked(
    handler: Callable[..., Response], run: Callable[[Call, Callable[[Any], Response]], Response]
) -> Callable[..., Response]:
    @functools.wraps(handler)
    def asked(call: Call, **values: Any) -> Response:
        return run(call, lambda first: handler(first, **values))

    _, *others = _signature(handler)
    first = inspect.Parameter("call", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Known)
    asked.__signature__ = inspect.Signature([first, *others])  # type: ignore[attr-defined]
    return asked


def _signature(handler: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(handler, eval_str=True).parameters.values())


async def until_ended(
    call: Call, identifier: str, seconds: float, look: Callable[[], tuple[Found, bool]]
) -> Found:
    """What `look` finds when the operation has ended, or after so many seconds; it returns that, and whether it has."""
    hub: Hub = call.request.app.state.hub
    end = time.monotonic() + seconds
    is_new, loop = asyncio.Event(), asyncio.get_running_loop()

    def wake() -> None:
        loop.call_soon_threadsafe(is_new.set)

    try:
        await run_in_threadpool(hub.watch, identifier, wake)
        while True:
            is_new.clear()
            found, has_ended = await run_in_threadpool(look)
            left = end - time.monotonic()
            if has_ended or left <= 0:
                return found
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await is_new.wait()
    finally:
        hub.unwatch(identifier, wake)


async def done(call: Call, answer: Response) -> Response:
    """The answer to a change: of a client that does not follow its operation, when that has ended, or takes too long.

    What such a client reads next shows what was done. Problem when it failed.
    """
    identifier = answer.headers.get("operation-location", "").rpartition("/")[2]
    if wants_operation(call.request) or not identifier:
        return answer

    def look() -> tuple[Operation | None, bool]:
        with call.service.pool.reading() as session:
            found = operations.find_operation(session, call.scope, identifier)
        return found, found is None or found.state in ENDED_OPERATIONS

    found = await until_ended(call, identifier, LONGEST_WAIT_SECONDS, look)
    if found is not None and found.state == FAILED:
        raise conflict((found.error or {}).get("detail", "the operation failed"), operation=identifier)
    return answer
