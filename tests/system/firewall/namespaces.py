"""Networks of the test's own: namespaces, pairs of devices between them, and connections that are tried."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from lab import system_calls
from rocks.core.process import run_checked, start_with_pipes

T = TypeVar("T")

_DEADLINE_SECONDS = 20.0


class Namespace:
    """A network namespace, by the number of a process in it."""

    def __init__(self, process_id: int) -> None:
        self.process_id = process_id

    def act(self, action: Callable[[], T]) -> T:
        """Call `action` in a thread inside; sockets and programs that it makes are there."""
        results: list[T] = []
        errors: list[BaseException] = []

        def enter_and_act() -> None:
            try:
                system_calls.enter_network(self.process_id)
                results.append(action())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=enter_and_act)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    def run(self, *arguments: str, text: str = "") -> str:
        """The output of a program inside; ToolError unless it ends with 0."""
        return self.act(
            lambda: (
                run_checked(arguments, deadline_seconds=_DEADLINE_SECONDS, standard_input=text.encode()).text
            )
        )

    def address(self, device: str, address: str) -> None:
        """Give the device, which is then up, an address with its prefix length."""
        self.run("ip", "link", "set", device, "up")
        self.run("ip", "address", "add", address, "dev", device)

    def listen(self, address: str, port: int) -> socket.socket:
        """A server inside; the kernel accepts connections for it."""
        return self.act(lambda: socket.create_server((address, port)))

    def reach(self, address: str, port: int, seconds: float = 2.0) -> str:
        """What a new connection from inside finds: open, refused, or silent."""

        def connect() -> str:
            try:
                with socket.create_connection((address, port), timeout=seconds) as made:
                    return "open" if made.getpeername() else ""
            except TimeoutError:
                return "silent"
            except OSError:
                return "refused"

        return self.act(connect)


@contextlib.contextmanager
def namespaces(*names: str) -> Iterator[dict[str, Namespace]]:
    """Name → a namespace with its loopback device up; they end with the block."""
    processes = [
        start_with_pipes(["unshare", "--net", "sh", "-c", "ip link set lo up && echo && exec sleep 600"])
        for _ in names
    ]
    try:
        for process in processes:
            assert process.stdout is not None and process.stdout.readline() == b"\n"
        yield {name: Namespace(process.pid) for name, process in zip(names, processes, strict=True)}
    finally:
        for process in processes:
            process.kill()
            process.wait()


def join(first: Namespace, device: str, second: Namespace, other: str) -> None:
    """Make a pair of devices, one in each namespace."""
    first.run(
        *("ip", "link", "add", device, "type", "veth", "peer", "name", other),
        *("netns", str(second.process_id)),
    )
