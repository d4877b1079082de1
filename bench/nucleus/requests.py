"""Requests to a REST service: a steady number in each second, and streams of events; their times in seconds."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from rocks.core.errors import ToolError

_CONNECTIONS = 32
_OPEN_SECONDS = 60.0


class Service(NamedTuple):
    """Where it listens on this machine, and the token that it is shown."""

    port: int
    token: str

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The bytes of a request, with JSON or without a body, on a connection that stays open."""
        lines = (
            f"{method} {path} HTTP/1.1",
            "Host: localhost",
            f"Authorization: Bearer {self.token}",
            "Prefer: respond-async",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        )
        return "\r\n".join([*lines, "", ""]).encode() + body


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Answer(NamedTuple):
    """The status of an answer, its header fields in small letters, and its body."""

    status: int
    fields: dict[bytes, bytes]
    body: bytes


async def open_connection(service: Service) -> Connection:
    """A connection, which the caller closes. OSError."""
    return await asyncio.open_connection("127.0.0.1", service.port, limit=1 << 24)


async def exchange(connection: Connection, request: bytes) -> Answer:
    """The answer to a request. OSError and EOFError when the connection ends before."""
    reader, writer = connection
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
    return Answer(int(head.split(b" ", 2)[1]), fields, body)


async def _ask(connection: Connection, request: bytes) -> bytes:
    """The body of the answer. ToolError unless it is a success."""
    answer = await exchange(connection, request)
    if not 200 <= answer.status < 300:
        raise ToolError(f"the service answered {answer.status} {answer.body[:300]!r} to {request[:60]!r}")
    return answer.body


def ask(service: Service, method: str, path: str, body: bytes = b"") -> bytes:
    """One request; the body of its answer."""

    async def work() -> bytes:
        connection = await open_connection(service)
        try:
            return await _ask(connection, service.request(method, path, body))
        finally:
            connection[1].close()

    return asyncio.run(work())


def ask_steadily(
    services: Sequence[Service], paths: Sequence[str], each_second: int, seconds: float
) -> list[float]:
    """GETs of paths by chance at fixed moments, whatever the answers take; from its moment to the end of the answer.

    Of a user by chance: one alone may not send so many.
    """

    async def work() -> list[float]:
        loop, free = asyncio.get_running_loop(), asyncio.Queue[Connection]()
        for _ in range(_CONNECTIONS):
            free.put_nowait(await open_connection(services[0]))
        chance = random.Random(0)  # noqa: S311 - no secret
        requests = [service.request("GET", path) for path in paths for service in services]

        async def one(moment: float) -> float:
            connection = await free.get()
            await _ask(connection, chance.choice(requests))
            free.put_nowait(connection)
            return loop.time() - moment

        begin, tasks = loop.time(), list[asyncio.Task[float]]()
        for number in range(int(each_second * seconds)):
            moment = begin + number / each_second
            await asyncio.sleep(moment - loop.time())
            tasks.append(asyncio.create_task(one(moment)))
        took = await asyncio.gather(*tasks)
        while not free.empty():
            free.get_nowait()[1].close()
        return took

    return asyncio.run(work())


def follow(services: Sequence[Service], change: Callable[[], Awaitable[None]], seconds: float) -> list[float]:
    """Open a stream of events with each token, have something change, and read for so long: each event's delay."""
    delays: list[float] = []

    async def read(reader: asyncio.StreamReader) -> None:
        async for line in reader:
            if line.startswith(b"data: {") and b'"at"' in line:
                at = json.loads(line[6:])["at"]
                delays.append((datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds())

    async def work() -> None:
        readers = []
        for service in services:
            connection = await open_connection(service)
            connection[1].write(service.request("GET", "/v1/events"))
            async with asyncio.timeout(_OPEN_SECONDS):
                await connection[0].readuntil(b": connected")
            readers.append((connection, asyncio.create_task(read(connection[0]))))
        await change()
        await asyncio.sleep(seconds)
        for connection, task in readers:
            task.cancel()
            connection[1].close()

    asyncio.run(work())
    return delays
