"""Bodies of requests, which are read before it is known whose they are."""

import asyncio
from collections.abc import Sequence

import pytest
from starlette.datastructures import Headers
from starlette.types import Message, Receive

from nucleus.api import middleware
from nucleus.api.middleware import MAX_BODY_BYTES, MAX_WAITING_BYTES, SMALL_BODY_BYTES, Space, read_body
from nucleus.api.problems import PROBLEMS, Problem


def receiver(parts: Sequence[bytes], goes_on: asyncio.Event | None = None) -> Receive:
    """Gives the parts; the last one when the event is set."""
    left = list(parts)

    async def receive() -> Message:
        if goes_on is not None and len(left) == 1:
            await goes_on.wait()
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    return receive


async def _crowd(size: int) -> tuple[list[bytes | BaseException], bytes | BaseException, bytes]:
    """Strangers that never end their bodies, as many as can have some; then a large and a small body of others."""
    space, goes_on = Space(), asyncio.Event()
    waiting = [
        asyncio.create_task(read_body(receiver([b"x" * size, b""], goes_on), Headers(), space))
        for _ in range(2 * MAX_WAITING_BYTES // size)
    ]
    await asyncio.sleep(0)
    large = await asyncio.gather(
        read_body(receiver([b"x" * size, b""]), Headers(), space), return_exceptions=True
    )
    small = await read_body(receiver([b"x" * SMALL_BODY_BYTES, b""]), Headers(), space)
    goes_on.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert await read_body(receiver([b"x" * size]), Headers(), space) == b"x" * size, "there is space again"
    return answers, large[0], small


def test_bodies_that_never_end_take_little_memory() -> None:
    """One stranger's thousand connections would fill the service's memory, and its unit would be killed."""
    answers, large, small = asyncio.run(_crowd(MAX_BODY_BYTES - 1))
    refused = [one for one in answers if isinstance(one, Problem)]
    assert (
        sum(len(one) for one in answers if isinstance(one, bytes)) <= MAX_WAITING_BYTES + 2 * MAX_BODY_BYTES
    )
    assert {one.code for one in refused} == {"rate-limited"}
    assert isinstance(large, Problem) and large.code == "rate-limited"
    assert small == b"x" * SMALL_BODY_BYTES, "an ordinary request is not concerned"


def test_a_body_that_is_too_large_gives_its_memory_back() -> None:
    async def run() -> None:
        space = Space()
        for _ in range(3 * MAX_WAITING_BYTES // MAX_BODY_BYTES):
            with pytest.raises(Problem, match="larger than 1 MiB"):
                await read_body(receiver([b"x" * MAX_BODY_BYTES, b"x", b""]), Headers(), space)

    asyncio.run(run())


@pytest.mark.parametrize("is_gone", [True, False])
def test_a_body_that_does_not_come_is_the_client_s_fault(
    is_gone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alarms of the site are on 5xx."""
    monkeypatch.setattr(middleware, "BODY_SECONDS", 0.0)

    async def receive() -> Message:
        if not is_gone:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    with pytest.raises(Problem) as refused:
        asyncio.run(read_body(receive, Headers(), Space()))
    assert PROBLEMS[refused.value.code].status == 408
