"""Runs `rocks` commands one after another, each in a process of its own that starts with all commands imported.

Standard input is a JSON list of argument lists. Each command gets an empty standard input and a session of its own; it
is killed after 60 s, and after 3 s if it waits for a guest to shut down, or is a service that runs until it is killed.
Prints a JSON list of [exit status, output and error output, seconds].
"""

import gc
import json
import os
import select
import signal
import sys
import time

from rocks.cli.main import main
from rocks.commands._framework.tree import OUR_TREE, all_commands, load_package

DEADLINE_SECONDS = 60.0
WAITING_SECONDS = 3.0
WAITING = (["stop"], ["remove", "cluster"], ["start", "service"])


def run(arguments: list[str]) -> tuple[int, str, float]:
    """Exit status (negative: the signal that ended it), everything that it printed, and its time."""
    begin = time.monotonic()
    with os.fdopen(
        os.memfd_create("output"), "w+b"
    ) as output:  # not a file in /tmp, where changes are watched
        number = os.fork()
        if number == 0:
            _become(arguments, output.fileno())
        waits = any(arguments[: len(start)] == start for start in WAITING)
        status = _wait(number, WAITING_SECONDS if waits else DEADLINE_SECONDS)
        _end_session(number)
        output.seek(0)
        return status, output.read().decode("utf-8", "replace"), time.monotonic() - begin


def _become(arguments: list[str], output: int) -> None:
    status = 70
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        status = main(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _wait(number: int, deadline_seconds: float) -> int:
    handle = os.pidfd_open(number)
    if not select.select([handle], [], [], deadline_seconds)[0]:
        os.killpg(number, signal.SIGKILL)
    os.close(handle)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def _end_session(number: int) -> None:
    try:
        os.killpg(number, signal.SIGKILL)
    except ProcessLookupError:
        pass


if __name__ == "__main__":
    for name in all_commands([OUR_TREE]):
        load_package(name, [OUR_TREE])
    gc.freeze()  # else each process would copy the memory of all that is imported
    print(json.dumps([run(arguments) for arguments in json.load(sys.stdin)]))
