"""The one place that starts programs: argument vectors only, always with a deadline, output kept."""

from __future__ import annotations

import os
import signal
import subprocess  # noqa: TID251 - this is the door
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Mapping, NoReturn, Sequence

from rocks.clock import Deadline
from rocks.errors import ToolError

_WATCH_SECONDS = 0.5


@dataclass(frozen=True)
class Finished:
    """A program that has ended: its arguments, exit status (negative: the signal that ended it) and output."""

    arguments: Sequence[str]
    exit_status: int
    output: bytes
    error_output: bytes

    @property
    def text(self) -> str:
        """Standard output as text; bytes that are no UTF-8 are shown as replacement characters."""
        return self.output.decode("utf-8", "replace")

    @property
    def error_text(self) -> str:
        """Standard error as text, without surrounding blanks."""
        return self.error_output.decode("utf-8", "replace").strip()


def run(
    arguments: Sequence[str],
    *,
    deadline_seconds: float,
    standard_input: bytes = b"",
    environment: Mapping[str, str] | None = None,
    watch: Callable[[bytes], None] | None = None,
) -> Finished:
    """Run a program to its end, whatever its exit status, and return what it printed.

    The program gets a process group of its own, and all of it is killed when the deadline passes, so that no
    grandchild stays behind. `watch` gets all of its output so far, twice a second. ToolError when it cannot be started
    or does not end in time.
    """
    process = _start(arguments, environment)
    try:
        if watch is None:
            output, error_output = process.communicate(standard_input, timeout=deadline_seconds)
        else:
            output, error_output = _watched(process, standard_input, deadline_seconds, watch)
    except subprocess.TimeoutExpired:
        _kill_group(process)
        raise ToolError(f"{arguments[0]} did not end within {deadline_seconds:g} s and was killed") from None
    except BaseException:
        _kill_group(process)
        raise
    return Finished(tuple(arguments), process.returncode, output, error_output)


def run_checked(
    arguments: Sequence[str],
    *,
    deadline_seconds: float,
    standard_input: bytes = b"",
    environment: Mapping[str, str] | None = None,
    watch: Callable[[bytes], None] | None = None,
) -> Finished:
    """As `run`, but ToolError with the program's own last words unless it exits with 0."""
    finished = run(
        arguments,
        deadline_seconds=deadline_seconds,
        standard_input=standard_input,
        environment=environment,
        watch=watch,
    )
    if finished.exit_status != 0:
        words = finished.error_text or finished.text.strip() or "it printed nothing"
        raise ToolError(f"{arguments[0]} failed with exit status {finished.exit_status}: {words}")
    return finished


def run_interactively(arguments: Sequence[str], standard_input: bytes | None = None) -> int:
    """Give the terminal to a program until it ends; returns its exit status. ToolError when it cannot start.

    With `standard_input` it reads that instead of the terminal, which it may open to ask for a password.
    """
    try:
        return subprocess.run(list(arguments), input=standard_input, check=False).returncode
    except OSError as error:
        raise ToolError(f"cannot start {arguments[0]}: {error.strerror}") from None


def replace_this_process(arguments: Sequence[str]) -> NoReturn:
    """Become another program; does not return. ToolError when it cannot be started."""
    try:
        os.execvp(arguments[0], list(arguments))
    except OSError as error:
        raise ToolError(f"cannot start {arguments[0]}: {error.strerror}") from None


def start_in_background(
    arguments: Sequence[str], log_path: Path, environment: Mapping[str, str] | None = None
) -> int:
    """Start a program that outlives this one, in a session of its own; returns its process id.

    What it prints is appended to `log_path`. ToolError when the program or the log cannot be opened.
    """
    try:
        with log_path.open("ab") as log:
            process = subprocess.Popen(
                list(arguments),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=None if environment is None else dict(environment),
                start_new_session=True,
            )
    except OSError as error:
        raise ToolError(f"cannot start {arguments[0]} with log {log_path}: {error.strerror}") from None
    # This program may end before the one it started; `Popen` would warn about that when it is thrown away.
    process.returncode = 0
    return process.pid


def start_with_pipes(
    arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program that is talked to while it runs; the caller ends it. ToolError when it cannot start."""
    return _start(arguments, environment)


def _start(arguments: Sequence[str], environment: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=None if environment is None else dict(environment),
            start_new_session=True,
        )
    except OSError as error:
        raise ToolError(f"cannot start {arguments[0]}: {error.strerror}") from None


def _watched(
    process: subprocess.Popen[bytes],
    standard_input: bytes,
    deadline_seconds: float,
    watch: Callable[[bytes], None],
) -> tuple[bytes, bytes]:
    """As `communicate`, which may be called again after its time-out and then goes on, without the input."""
    deadline = Deadline(deadline_seconds)
    given: bytes | None = standard_input
    while True:
        patience = min(_WATCH_SECONDS, deadline.remaining_seconds() or 0.0)
        try:
            return process.communicate(given, timeout=patience)
        except subprocess.TimeoutExpired as pause:
            if deadline.passed():
                raise
            given = None
            watch(pause.output or b"")


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it ended between the deadline and the signal
    process.communicate()
