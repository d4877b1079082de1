"""The agent that listens: it has imported what requests need, and runs each in a process of its own.

rocks-agent.socket starts it with the first request, and it ends after ten minutes without any. It stores nothing.
Source: sd_listen_fds(3), the protocol of socket activation.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path
from typing import NoReturn, Tuple

import rocks
from rocks.agent.main import main
from rocks.agent.start import GREETING, MAX_MESSAGE_BYTES, STREAMS
from rocks.core.errors import UserError

IDLE_SECONDS = 600.0
_FIRST_DESCRIPTOR = 3
_HANDING_OVER_SECONDS = 5.0
_PACKAGES = ("agent", "fleet.host", "machine.host", "network.host")


def listen() -> int:
    """Until nothing was requested for `IDLE_SECONDS`, or the package has been changed. UserError without a socket."""
    if os.environ.get("LISTEN_FDS") != "1" or os.environ.get("LISTEN_PID") != str(os.getpid()):
        raise UserError("rocks-agent listen is started by its socket: systemctl start rocks-agent.socket")
    for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    listener = socket.socket(fileno=_FIRST_DESCRIPTOR)
    installed = _installed()
    for package in _PACKAGES:
        _import_all(f"rocks.{package}")
    gc.collect()
    gc.freeze()  # a collection in a run must not copy the pages that it shares
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the runs
    listener.settimeout(IDLE_SECONDS)
    while True:
        try:
            client = listener.accept()[0]
        except socket.timeout:  # of Python 3.9 it is no TimeoutError
            return 0
        with client:
            if _installed() != installed:
                return 0  # the program does this one itself, the next one starts the new package
            if os.fork() == 0:
                listener.close()
                _run(client)


def _installed() -> Tuple[int, int]:
    """Which package is installed: the inode and the time of its archive, or of its first module."""
    place = Path(rocks.__file__)
    while not place.exists() and place != place.parent:  # a module in an archive
        place = place.parent
    found = place.stat()
    return found.st_ino, found.st_mtime_ns


def _run(client: socket.socket) -> NoReturn:
    """Do what the client hands over, as its program would."""
    status = 1
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        client.settimeout(_HANDING_OVER_SECONDS)
        client.send(GREETING)
        message, streams, _, _ = socket.recv_fds(client, MAX_MESSAGE_BYTES, STREAMS)
        client.settimeout(None)
    except OSError:  # it waits no longer
        os._exit(status)
    if len(streams) != STREAMS:
        os._exit(status)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    threading.Thread(target=_end_with, args=[client], daemon=True).start()
    try:
        status = main(message.decode("utf-8", "surrogateescape").split("\0"))
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(OSError):  # nobody reads it any more
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        client.send(bytes([status]))
    os._exit(status)


def _end_with(client: socket.socket) -> None:
    """End the run when its program is killed: who waits for its output reads the end of it then."""
    with contextlib.suppress(OSError):
        client.recv(1)
    os.killpg(0, signal.SIGKILL)


def _import_all(package: str) -> None:
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
        if module.ispkg:
            _import_all(module.name)
        elif not module.name.endswith("__main__"):
            importlib.import_module(module.name)
