"""`nucleus serve`: everything, until SIGTERM; the poller beside the REST service is in a process of its own."""

from __future__ import annotations

import contextlib
import gc
import logging
import signal
import sys
import threading
from typing import TYPE_CHECKING

from nucleus.backends.executor import create_executor
from nucleus.backends.rocks import Rocks
from nucleus.mirror.migrate import check_version
from nucleus.mirror.pool import Guard, Pool
from nucleus.operations.worker import Workers
from nucleus.parts import installed
from nucleus.poller.poller import Poller
from nucleus.poller.process import own_process

if TYPE_CHECKING:
    import argparse
    import socket
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from fastapi import FastAPI

    from nucleus.backends.executor import Executor
    from nucleus.configuration import Configuration

_LOG = logging.getLogger(__name__)
_SWITCH_SECONDS = 0.0001
"""How long a thread may keep the others waiting: a request is answered while workers and the controller are busy.

Measured while the poller was a thread, too, at 300 requests a second, in turns: the slowest hundredth took 15 ms with
0.5 ms, and 9.6 ms with 0.1 ms.
"""

_COLLECTION = (10_000, 5, 200)
"""How many new objects there are between looks for cycles among the young, the older and all of them.

A look at all takes 50 ms with 20,000 machines: in it the poller works for nothing, and a poller in a thread keeps
requests waiting. By Python's own numbers each poll would have one; the objects of a poll are in no cycle.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which parts."""
    every = [
        "api",
        "poller",
        "workers",
        *(name for name, one in installed().items() if one.loop),
    ]
    parser.add_argument(
        "--only", nargs="+", choices=every, default=every, help="these parts only; the others elsewhere"
    )


def run(arguments: argparse.Namespace, configuration: Configuration) -> int:
    """Serve until SIGTERM or SIGINT; what is being done is finished, or left to the next process."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.set_threshold(*_COLLECTION)
    pool, executor = Pool(configuration.database), create_executor(configuration.executor)
    with pool.transaction() as session:
        check_version(session)
    parts = _parts(configuration, pool, executor, arguments.only)
    pool.close()
    ended = _catch_signals()
    with contextlib.ExitStack() as stack:
        if "api" in arguments.only and "poller" in parts:
            import nucleus.api.app  # before, so that both processes share it

            nucleus.api.app.routers()
            gc.freeze()  # a look for cycles would write into what they share
            stack.enter_context(own_process(parts.pop("poller")))
        stack.callback(pool.close)
        if "api" in arguments.only:
            from nucleus.api.app import create_application  # slow to import, and other parts do without it
            from nucleus.api.nginx import listening

            application = create_application(configuration, pool, executor)
            has_ended = application.state.service.has_ended
            listener = stack.enter_context(listening(configuration, has_ended=has_ended))
            stack.enter_context(_threads(parts))
            _serve_api(application, listener, ended)
        else:
            stack.enter_context(_threads(parts))
            ended.wait()
    return 0


@contextlib.contextmanager
def _threads(parts: Mapping[str, Callable[[threading.Event], None]]) -> Iterator[None]:
    """Run each in a thread, until the end of the block."""
    stop = threading.Event()
    threads = [threading.Thread(target=part, args=(stop,), name=name) for name, part in parts.items()]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        _LOG.info("stopping")
        stop.set()
        for thread in threads:
            thread.join()


def _parts(
    configuration: Configuration, pool: Pool, executor: Executor, only: Sequence[str]
) -> dict[str, Callable[[threading.Event], None]]:
    """Name → what runs, of those in `only`."""
    reading = Rocks(executor, configuration.poll.command_seconds)
    changing = Rocks(executor, configuration.work.command_seconds)
    found: dict[str, Callable[[threading.Event], None]] = {
        "poller": Poller(configuration, reading, Guard(configuration.database, "poller"), _store_texts).run,
        "workers": Workers(configuration, pool, changing).run,
    }
    found = {name: run for name, run in found.items() if name in only}
    for name, part in installed().items():
        if part.loop is not None and name in only:
            found[name] = part.loop(configuration, pool)
    return found


def _store_texts(guard: Guard) -> None:
    from nucleus.api.cached_clusters import store_texts  # slow to import

    store_texts(guard)


def _serve_api(application: FastAPI, listener: socket.socket, ended: threading.Event) -> None:
    from nucleus.api.app import server_of

    server = server_of(application)

    def end_early() -> None:
        """A signal that came before uvicorn takes signals itself: it has only set the event."""
        ended.wait()
        server.should_exit = True

    threading.Thread(target=end_early, name="end", daemon=True).start()
    server.run([listener])


def _catch_signals() -> threading.Event:
    """Set by SIGTERM and SIGINT, which uvicorn raises again when it has ended."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    return ended
