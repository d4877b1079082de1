"""Far hosts on one machine: a process that carries TCP connections to other ports with the delay of a long line.

    python -m bench.forwarder ROUND_TRIP_MS ADDRESS:PORT=ADDRESS:PORT…

Each pair is a port to listen on and the one to go on to. Every byte takes half a round trip each way, in order; the
connection itself takes one and a half, as a three-way handshake does before the far program can speak. The kernel's own
means (netem) is missing from many virtual machines and all containers.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import NamedTuple

_CHUNK_BYTES = 65536
READY = "forwarding"


class Route(NamedTuple):
    """Where to listen and where to go on to: addresses and ports."""

    near: tuple[str, int]
    far: tuple[str, int]

    @property
    def argument(self) -> str:
        """The route as an argument of the command line."""
        return f"{self.near[0]}:{self.near[1]}={self.far[0]}:{self.far[1]}"


def read_route(argument: str) -> Route:
    """The route of an argument; ValueError when it is malformed."""
    near, far = (place.rpartition(":") for place in argument.split("="))
    return Route((near[0], int(near[2])), (far[0], int(far[2])))


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_seconds: float) -> None:
    """Copy one direction to its end, each chunk `delay_seconds` after it came; then close that direction."""
    clock = asyncio.get_running_loop().time
    chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def collect() -> None:
        chunk = b"first"
        while chunk:
            try:
                chunk = await reader.read(_CHUNK_BYTES)
            except OSError:
                chunk = b""
            await chunks.put((clock() + delay_seconds, chunk))

    collecting = asyncio.create_task(collect())
    try:
        while True:
            due, chunk = await chunks.get()
            await asyncio.sleep(due - clock())
            if not chunk:
                break
            writer.write(chunk)
            await writer.drain()
    except OSError:
        pass  # the other end is gone; data in transit is lost, as on a real line
    finally:
        collecting.cancel()
        writer.close()


async def forward(routes: Sequence[Route], round_trip_seconds: float) -> None:
    """Serve all routes until cancelled."""

    def server_of(route: Route) -> asyncio.Task[asyncio.Server]:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(1.5 * round_trip_seconds)
            try:
                far_reader, far_writer = await asyncio.open_connection(*route.far)
            except OSError:
                writer.close()
                return
            one_way = round_trip_seconds / 2
            await asyncio.gather(relay(reader, far_writer, one_way), relay(far_reader, writer, one_way))

        return asyncio.create_task(asyncio.start_server(connected, *route.near, backlog=200))

    servers = await asyncio.gather(*(server_of(route) for route in routes))
    print(READY, flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


def main(arguments: Sequence[str]) -> None:
    """Forward until a signal ends the process."""
    round_trip_ms, *routes = arguments
    asyncio.run(forward([read_route(argument) for argument in routes], float(round_trip_ms) / 1000))


if __name__ == "__main__":
    main(sys.argv[1:])
