"""Waiting for the end of an operation: nothing is read, and no thread is taken, until its event comes."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from starlette.concurrency import run_in_threadpool

from nucleus.api.problems import conflict, wants_operation
from nucleus.mirror import operations
from nucleus.states import ENDED_OPERATIONS, FAILED

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response

    from nucleus.api.events import Hub
    from nucleus.api.service import Call
    from nucleus.records import Operation

Found = TypeVar("Found")

DONE_SECONDS = 50.0
"""How long a change is waited for, for a client that cannot follow it; proxies end a request after 60."""


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

    found = await until_ended(call, identifier, DONE_SECONDS, look)
    if found is not None and found.state == FAILED:
        raise conflict((found.error or {}).get("detail", "the operation failed"), operation=identifier)
    return answer
