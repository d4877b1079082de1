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
import time
import traceback
from typing import Collection, NoReturn

from rocks.agent.main import main
from rocks.agent.start import BEGUN, GREETING, MAX_MESSAGE_BYTES, STREAMS
from rocks.core.clock import wait_seconds
from rocks.core.errors import UserError

IDLE_SECONDS = 600.0
_FIRST_DESCRIPTOR = 3
_HANDING_OVER_SECONDS = 5.0
_PAUSE_SECONDS = 1.0
_UPGRADE_NS = 2_000_000_000
"""A package that was changed within this time may be changing still."""

_PACKAGES = (
    "agent",
    "fleet.host",
    "machine.host",
    "network.host",
    "network.infiniband.host",
    "network.sriov.host",
)


def listen() -> int:
    """Until nothing was requested for `IDLE_SECONDS`, or a package has been changed. UserError without a socket."""
    if os.environ.get("LISTEN_FDS") != "1" or os.environ.get("LISTEN_PID") != str(os.getpid()):
        raise UserError("rocks-agent listen is started by its socket: systemctl start rocks-agent.socket")
    for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    listener = socket.socket(fileno=_FIRST_DESCRIPTOR)
    for package in _PACKAGES:
        _import_all(f"rocks.{package}")
    modules = [module for name, module in sys.modules.items() if name != "__main__"]
    files = {_place(file) for module in modules if (file := getattr(module, "__file__", None))}
    imported = _last_change(files)
    if imported is None or imported > time.time_ns() - _UPGRADE_NS:
        return 0  # perhaps modules of two versions
    gc.collect()
    gc.freeze()  # a collection in a run must not copy the pages that it shares
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the runs
    listener.settimeout(IDLE_SECONDS)
    while True:
        try:
            client = listener.accept()[0]
            with client:
                if _last_change(files) != imported:
                    return 0  # the program does this one itself; the next one starts the new package
                client.send(GREETING)
                if os.fork() == 0:
                    listener.close()
                    _run(client)
        except socket.timeout:  # of Python 3.9 it is no TimeoutError
            return 0
        except ConnectionError:  # it waits no longer
            continue
        except OSError:  # no descriptor, process or memory is free: programs do the work themselves
            wait_seconds(_PAUSE_SECONDS)


def _place(file: str) -> str:
    """The archive that has the module's file, or the file."""
    archive, zipped, _ = file.partition(".pyz/")
    return archive + ".pyz" if zipped else file


def _last_change(files: Collection[str]) -> int | None:
    """When one of the files was last changed, in ns; None when one is gone."""
    try:
        return max(os.stat(file).st_ctime_ns for file in files)  # noqa: PTH116 - for each request
    except OSError:
        return None


def _run(client: socket.socket) -> NoReturn:
    """Do what the client hands over, as its program would."""
    status = 1
    try:
        arguments = _take_over(client)
        if arguments is not None:
            status = main(arguments)
            sys.stdout.flush()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            client.send(bytes([status]))
        os._exit(status)


def _take_over(client: socket.socket) -> list[str] | None:
    """The arguments of the client; this process has its streams then. None when the client does the work itself."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    client.settimeout(_HANDING_OVER_SECONDS)
    try:
        message, streams, flags, _ = socket.recv_fds(client, MAX_MESSAGE_BYTES, STREAMS)
        if len(streams) != STREAMS or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            return None
        client.settimeout(None)
        client.send(BEGUN)
    except OSError:
        return None
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    threading.Thread(target=_end_with, args=[client], daemon=True).start()
    return message.decode("utf-8", "surrogateescape").split("\0")


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
