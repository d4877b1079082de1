"""The bytes of an open console, both ways, between a WebSocket and a socket of `rocks`."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from starlette.websockets import WebSocketDisconnect, WebSocketState

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from fastapi import WebSocket

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
