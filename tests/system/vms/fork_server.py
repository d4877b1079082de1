"""A fork server: it imports `rocks` once, and runs it in a fork of that process for each request.

    python3 fork_server.py SOCKET

serves `rocks`, with its transactions watched, on a Unix socket. A request is one message: marshalled (arguments,
environment), with standard input, output and error as file descriptors. The reply is the wait status. Each run is a
process in its own session, which is killed when its client closes the connection.
"""

import contextlib
import gc
import importlib
import marshal
import os
import pkgutil
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

Main = Callable[[Sequence[str]], int]

_MAX_REQUEST_BYTES = 1 << 18
_ROCKS_PACKAGES = (
    "cli",
    "commands._framework",
    "core",
    "database",
    "fleet",
    "inventory",
    "network",
    "machine",
)
"""Rooms of which a run may need much: the others are imported by the runs that need them."""


def request(
    place: Path, arguments: Sequence[str], environment: Mapping[str, str], streams: Sequence[int]
) -> socket.socket:
    """Have the server at `place` run the program with three streams; returns a socket for `exit_status`."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server.connect(str(place))
    socket.send_fds(server, [marshal.dumps((list(arguments), dict(environment)))], streams)
    return server


def exit_status(server: socket.socket) -> int:
    """Wait for the end of a run; returns its exit status, or minus its signal. OSError when the server ends."""
    reply = server.recv(16)
    if not reply:
        raise ConnectionResetError("the fork server has ended")
    return os.waitstatus_to_exitcode(int(reply))


def serve(place: str, main: Main) -> NoReturn:
    """Create the socket `place`, and run `main` in a new process for each request."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(f"{place}.new")
    listener.listen(64)
    Path(f"{place}.new").rename(place)  # once the socket exists, it accepts connections
    while True:
        client = listener.accept()[0]
        _reap()
        if os.fork() == 0:
            listener.close()
            _answer(client, main)
        client.close()


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _answer(client: socket.socket, main: Main) -> NoReturn:
    """Start the run that the client requests, and send its wait status."""
    message, streams, _, _ = socket.recv_fds(client, _MAX_REQUEST_BYTES, 3)
    process = os.fork()
    if process == 0:
        os.setsid()
        client.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        sys.stdin, sys.stdout = open(0), open(1, "w")  # noqa: PTH123, SIM115 - file descriptors of the process
        sys.stderr = open(2, "w", buffering=1, errors="backslashreplace")  # noqa: PTH123, SIM115
        arguments, environment = marshal.loads(message)
        os.environ.clear()
        os.environ.update(environment)
        _run(main, arguments)
    for stream in streams:
        os.close(stream)
    end = os.pidfd_open(process)
    waiting = select.poll()  # `select` knows 1024 descriptors only, and the process inherits its parent's
    waiting.register(end, select.POLLIN)
    waiting.register(client, select.POLLIN)
    if end not in dict(waiting.poll()):  # the client closed the connection
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
    status = os.waitpid(process, 0)[1]
    with contextlib.suppress(OSError):
        client.send(str(status).encode())
    os._exit(0)


def _run(main: Main, arguments: Sequence[str]) -> NoReturn:
    """Run the program, and end the process as Python would."""
    status = 1
    try:
        status = main(arguments)
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(status)


def _rocks() -> Main:
    """`rocks`, without its commands: their packages depend on the site's trees at the time of a run."""
    checkout = Path(__file__).resolve().parents[3]
    sys.path[0] = str(checkout / "src")
    sys.path += [os.environ["ROCKS_SITE_PACKAGES"], str(checkout)]
    for package in _ROCKS_PACKAGES:
        _import_all(f"rocks.{package}", but="host")
    watch = importlib.import_module("tests.system.transaction_watch")
    watch.Watch(watch.append_to_file).install(setattr)
    main = importlib.import_module("rocks.cli.main")

    def run(arguments: Sequence[str]) -> int:
        sys.argv[1:] = arguments
        return main.main(arguments)

    return run


def _import_all(package: str, but: str = "__main__") -> None:
    """Import a package with all that is in it, but the modules and packages of one name."""
    path = importlib.import_module(package).__path__
    for module in pkgutil.iter_modules(path, f"{package}."):
        if module.name.rpartition(".")[2] == but:
            continue
        if module.ispkg:
            _import_all(module.name, but)
        else:
            importlib.import_module(module.name)


if __name__ == "__main__":
    program = _rocks()
    gc.collect()
    gc.freeze()  # garbage collection in a run must not copy shared memory pages
    serve(sys.argv[1], program)
