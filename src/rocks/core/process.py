"""The gateway to programs: argument vectors only, always with a deadline, output captured."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess  # noqa: TID251 - the only importer
import threading
from typing import IO, Callable, Mapping, NoReturn, Optional, Sequence, Tuple

from rocks.core import dry_run
from rocks.core.clock import Deadline
from rocks.core.dataclasses import dataclass
from rocks.core.errors import ToolError

_WATCH_SECONDS = 0.5
_REAP_SECONDS = 2.0
_PART_BYTES = 64 * 1024
_END_SECONDS = 0.5


@dataclass(frozen=True)
class Finished:
    """A program that has ended: its arguments, exit status (negative: the signal that ended it) and output."""

    arguments: Sequence[str]
    exit_status: int
    output: bytes
    error_output: bytes

    @property
    def text(self) -> str:
        """Standard output as text; bytes that are no UTF-8 become replacement characters."""
        return self.output.decode("utf-8", "replace")

    @property
    def error_text(self) -> str:
        """Standard error as text, without surrounding blanks."""
        return self.error_output.decode("utf-8", "replace").strip()


class LateError(ToolError):
    """A program did not end in time. It was killed, but what waits in the kernel ends only when that goes on."""

    def __init__(self, message: str, process: subprocess.Popen[bytes]) -> None:
        super().__init__(message)
        self._process = process

    def has_ended(self) -> bool:
        """Whether the program has ended by now."""
        return self._process.poll() is not None


def run(
    arguments: Sequence[str],
    *,
    deadline_seconds: float,
    standard_input: bytes = b"",
    environment: Mapping[str, str] | None = None,
    watch: Callable[[bytes], None] | None = None,
    max_bytes: int | None = None,
    descriptors: Sequence[int] = (),
    input_descriptor: int | None = None,
) -> Finished:
    """Run a program to its end, and return its exit status and output.

    The program gets a process group of its own, and the whole group is killed at the deadline. What the signal does not
    end within 2 s (a process in uninterruptible sleep), or does not reach (a grandchild with a session of its own that
    keeps the output open), is left behind: the deadline holds all the same. `watch` gets the output so far, twice a
    second. With `max_bytes`, a program that prints more, to either output, is killed. `descriptors` stay open in the
    program: a lock by one of them lasts as long as the program, also when this process is killed. With
    `input_descriptor` it reads that, such as a large file, from where it stands, and nothing of `standard_input`.

    LateError when the program does not end in time; ToolError when it cannot be started, prints more, or leaves its
    output open.
    """
    pipe = subprocess.PIPE
    given = pipe if input_descriptor is None else input_descriptor
    process = _started(arguments, environment, given, pipe, pipe, descriptors)
    try:
        if max_bytes is not None:
            output, error_output = _bounded(
                arguments[0], process, standard_input, deadline_seconds, max_bytes
            )
        elif watch is None:
            output, error_output = process.communicate(standard_input, timeout=deadline_seconds)
        else:
            output, error_output = _watched(process, standard_input, deadline_seconds, watch)
    except subprocess.TimeoutExpired:
        outputs = _ended_in_time(process)
        if outputs is None:
            raise _too_late(arguments[0], process, deadline_seconds) from None
        output, error_output = outputs
    except BaseException:
        end_group(process)
        raise
    return Finished(tuple(arguments), process.returncode, output, error_output)


def run_checked(
    arguments: Sequence[str],
    *,
    deadline_seconds: float,
    standard_input: bytes = b"",
    environment: Mapping[str, str] | None = None,
    max_bytes: int | None = None,
    descriptors: Sequence[int] = (),
    input_descriptor: int | None = None,
) -> Finished:
    """As `run`, but ToolError with the program's own message unless it exits with 0."""
    finished = run(
        arguments,
        deadline_seconds=deadline_seconds,
        standard_input=standard_input,
        environment=environment,
        max_bytes=max_bytes,
        descriptors=descriptors,
        input_descriptor=input_descriptor,
    )
    check_exit(finished)
    return finished


def check_exit(finished: Finished) -> None:
    """ToolError with the program's own message unless it exited with 0."""
    if finished.exit_status != 0:
        reason = finished.error_text or finished.text.strip() or "it printed nothing"
        raise ToolError(f"{finished.arguments[0]} failed with exit status {finished.exit_status}: {reason}")


def run_interactively(arguments: Sequence[str], standard_input: bytes | None = None) -> int:
    """Give the terminal to a program until it ends; returns its exit status. ToolError when it cannot start.

    With `standard_input` it reads that instead of the terminal; it may open the terminal to prompt for a password.
    """
    try:
        return subprocess.run(list(arguments), input=standard_input, check=False).returncode
    except OSError as error:
        raise ToolError(f"cannot start {arguments[0]}: {error.strerror}") from None


def replace_this_process(arguments: Sequence[str]) -> NoReturn:
    """Replace this process by another program; does not return. ToolError when it cannot be started."""
    try:
        os.execvp(arguments[0], list(arguments))
    except OSError as error:
        raise ToolError(f"cannot start {arguments[0]}: {error.strerror}") from None


def start_in_background(
    arguments: Sequence[str], log_path: str | os.PathLike[str], environment: Mapping[str, str] | None = None
) -> int:
    """Start a program that outlives this one, in a session of its own; returns its process id.

    Its output is appended to `log_path`. ToolError when the program or the log cannot be opened.
    """
    try:
        with open(log_path, "ab") as log:  # noqa: PTH123 - pathlib would cost a listing of states its start-up time
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
    # This program may end before the one it started; the destructor of `Popen` would warn about that.
    process.returncode = 0
    return process.pid


def start_with_pipes(
    arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program to exchange data with it while it runs; the caller ends it. ToolError when it cannot start."""
    return _started(arguments, environment, subprocess.PIPE, subprocess.PIPE, subprocess.PIPE)


def _started(
    arguments: Sequence[str],
    environment: Mapping[str, str] | None,
    stdin: int,
    stdout: int,
    stderr: int,
    descriptors: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(arguments),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=None if environment is None else dict(environment),
            start_new_session=True,
            pass_fds=tuple(descriptors),
        )
    except OSError as error:
        raise ToolError(f"cannot start {arguments[0]}: {error.strerror}") from None


def start_on_socket(
    arguments: Sequence[str], environment: Optional[Mapping[str, str]] = None
) -> Tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a program whose standard input and output are a socket; returns it, and the far end of that socket.

    Its standard error is a pipe. The caller ends the program (`finish`) and closes the socket, whose reading ends when
    the program has closed its end. ToolError when it cannot start.
    """
    far_end, near_end = socket.socketpair()
    try:
        with near_end:
            number = near_end.fileno()
            return _started(arguments, environment, number, number, subprocess.PIPE), far_end
    except ToolError:
        far_end.close()
        raise


def start_on_terminal(arguments: Sequence[str]) -> Tuple[subprocess.Popen[bytes], int]:
    """Start a program on a terminal of its own, in raw mode; returns it, and the descriptor of that terminal's far end.

    What the program writes to standard error is dropped. The caller ends the program (`end_group`) and closes the
    descriptor, whose reading fails with OSError when the program has ended. ToolError when it cannot start.
    """
    import tty  # late: few programs get a terminal

    far_end, near_end = os.openpty()
    try:
        tty.setraw(near_end)
        return _started(arguments, None, near_end, near_end, subprocess.DEVNULL), far_end
    except ToolError:
        os.close(far_end)
        raise
    finally:
        os.close(near_end)


def ends_within(process: subprocess.Popen[bytes], seconds: float | None) -> bool:
    """Wait for a program that was started here; whether it ended in time. None waits for ever."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def finish(process: subprocess.Popen[bytes], deadline_seconds: float) -> str:
    """Wait for a program that is about to end, and kill it if it does not; returns what it wrote to standard error."""
    try:
        return (process.communicate(timeout=deadline_seconds)[1] or b"").decode("utf-8", "replace").strip()
    except subprocess.TimeoutExpired:
        end_group(process)
        return ""


def _watched(
    process: subprocess.Popen[bytes],
    standard_input: bytes,
    deadline_seconds: float,
    watch: Callable[[bytes], None],
) -> tuple[bytes, bytes]:
    """As `communicate`, which continues when it is called again after its time-out."""
    # but not with its input: CPython 3.11 drops what was not written before the first time-out
    feeder = threading.Thread(target=_feed, args=(process.stdin, standard_input), daemon=True)
    process.stdin = None
    feeder.start()
    deadline = Deadline(deadline_seconds)
    while True:
        wait = min(_WATCH_SECONDS, deadline.remaining_seconds() or 0.0)
        try:
            return process.communicate(timeout=wait)
        except subprocess.TimeoutExpired as timeout:
            if deadline.passed():
                raise
            watch(timeout.output or b"")  # also none once its output has ended and only its end is waited for


def _bounded(
    name: str,
    process: subprocess.Popen[bytes],
    standard_input: bytes,
    deadline_seconds: float,
    max_bytes: int,
) -> tuple[bytes, bytes]:
    """As `communicate`, whose memory has no bound. ToolError as `run`."""
    outputs, deadline = (bytearray(), bytearray()), Deadline(deadline_seconds)
    is_read, is_over = threading.Semaphore(0), threading.Event()

    def read(descriptor: int, into: bytearray) -> None:
        # not through the pipe's buffer: closing that would wait for this thread
        while not is_over.is_set() and len(into) <= max_bytes and (part := os.read(descriptor, _PART_BYTES)):
            into += part
        is_read.release()

    threading.Thread(target=_feed, args=(process.stdin, standard_input), daemon=True).start()
    process.stdin = None  # as in `_watched`
    for pipe, into in zip((process.stdout, process.stderr), outputs):
        descriptor = pipe.fileno() if pipe is not None else -1
        threading.Thread(target=read, args=(descriptor, into), daemon=True).start()
    try:
        for _ in outputs:
            is_in_time = is_read.acquire(timeout=deadline.remaining_seconds() or 0.0)
            # as `_ended_in_time`: after a stop of this process the threads may still have to read
            if not is_in_time and (process.poll() is None or not is_read.acquire(timeout=_END_SECONDS)):
                raise _too_late(name, process, deadline_seconds)
            if max(map(len, outputs)) > max_bytes:
                raise ToolError(f"{name} printed more than {max_bytes} bytes and was killed")
        process.wait(deadline.remaining_seconds())
    except subprocess.TimeoutExpired:
        raise _too_late(name, process, deadline_seconds) from None
    finally:
        is_over.set()
    _close_pipes(process)
    return bytes(outputs[0]), bytes(outputs[1])


def _feed(pipe: IO[bytes], data: bytes) -> None:
    try:
        with pipe:
            pipe.write(data)
    except OSError:
        pass  # the program has ended, or does not read


def _ended_in_time(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes] | None:
    """The output of a program that ended while this process, or the whole machine, was stopped; None of any other."""
    if process.poll() is None:
        return None
    try:
        return process.communicate(timeout=_END_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def _too_late(name: str, process: subprocess.Popen[bytes], deadline_seconds: float) -> ToolError:
    """Kill the program; the error that says what happened to it."""
    had_ended = process.poll() is not None
    is_gone = end_group(process)
    if had_ended:
        return ToolError(
            f"{name} has ended, but a process that it started did not close its output within {deadline_seconds:g} s"
        )
    late = f"{name} did not end within {deadline_seconds:g} s"
    if is_gone:
        return LateError(f"{late} and was killed", process)
    return LateError(
        f"{late}, and neither it nor its output ended within {_REAP_SECONDS:g} s of being killed "
        f"(process {process.pid})",
        process,
    )


def end_group(process: subprocess.Popen[bytes]) -> bool:
    """Kill a program that was started here, and what it started; whether it has ended, and its output is closed."""
    try:
        with dry_run.reading():  # it was started here
            os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it ended between the deadline and the signal
    try:
        process.communicate(timeout=_REAP_SECONDS)
        return True
    except subprocess.TimeoutExpired:
        return False
    finally:
        _close_pipes(process)


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):  # closing standard input flushes it
                pipe.close()
