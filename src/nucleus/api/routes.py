"""How requests are declared and answered: each shape once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.concurrency import run_in_threadpool

from nucleus.api.service import Known, changing, reading
from nucleus.api.waiting import done

if TYPE_CHECKING:
    from fastapi import APIRouter
    from starlette.responses import Response

    from nucleus.api.service import Call

Handler = TypeVar("Handler", bound=Callable[..., Any])


def route(
    router: APIRouter, request: str, name: str, summary: str, shape: Any = None, **more: Any
) -> Callable[[Handler], Handler]:
    """Decorates the handler of `METHOD PATH`. `name` is that of the operation in the published description."""
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
