"""Nucleus as a program of the bench: its settings, its start, and waiting for it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from bench.site import CHECKOUT
from nucleus.configuration import DatabaseSettings
from rocks.core.errors import ToolError
from rocks.core.process import end_group, start_with_pipes

_START_SECONDS = 120.0


class Place(NamedTuple):
    """The schema, the executor's socket, and a folder for what the programs print."""

    settings: DatabaseSettings
    socket: Path
    folder: Path

    def environment(self, port: int) -> Mapping[str, str]:
        """The settings of `nucleus serve`."""
        return {
            **os.environ,
            "NUCLEUS_DATABASE_SOCKET": self.settings.socket,
            "NUCLEUS_DATABASE_NAME": self.settings.name,
            "NUCLEUS_DATABASE_USER": self.settings.user,
            "NUCLEUS_EXECUTOR_KIND": "socket",
            "NUCLEUS_EXECUTOR_SOCKET": str(self.socket),
            "NUCLEUS_LISTEN_PORT": str(port),
            "NUCLEUS_RESPONSIBILITY_REQUIRED": "false",
            **_environment_of_unit(),
            "PYTHONPATH": str(CHECKOUT / "src"),
        }


def _environment_of_unit() -> Mapping[str, str]:
    """What the unit sets: how memory is given back."""
    unit = (CHECKOUT / "packaging/files/units/rocks-nucleus.service").read_text("utf-8")
    return dict(re.findall(r"(MALLOC_\w+)=(\d+)", unit))


class Running(NamedTuple):
    """A program that runs: its number, and what sends it a line and returns the line that it answers."""

    number: int
    ask: Callable[[str], str]


@contextlib.contextmanager
def program(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[Running]:
    """A program with its error output in a file."""
    started = start_with_pipes(arguments, environment)
    sent, answered, errors = started.stdin, started.stdout, started.stderr
    assert sent is not None
    assert answered is not None
    assert errors is not None

    def ask(line: str) -> str:
        sent.write(f"{line}\n".encode())
        sent.flush()
        return answered.readline().decode()

    copying = threading.Thread(target=_copy, args=(errors, log))
    copying.start()
    try:
        yield Running(started.pid, ask)
    finally:
        end_group(started)
        copying.join()


def _copy(source: IO[bytes], log: Path) -> None:
    with log.open("wb") as file, contextlib.suppress(ValueError):  # its end closes the pipe
        shutil.copyfileobj(source, file)


def wait(condition: Callable[[], object], what: str) -> None:
    """Wait until the condition holds. ToolError after two minutes."""
    end = time.monotonic() + _START_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise ToolError(f"{what} did not come within {_START_SECONDS:g} s")
        time.sleep(0.1)


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether somebody listens on the port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
