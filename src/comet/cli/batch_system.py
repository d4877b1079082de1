"""What `comet-slurm` and `comet-condor` share: a cluster's own batch system, whose nodes are computes in computesets.

Each is a program without arguments, which the batch system starts, and cron each minute. It reads what the batch system
wants and which computesets exist, and starts and ends computesets until they agree; the next run completes what a
killed one left. One runs at a time, and one waits, by locks on its configuration and that file's folder.
"""

from __future__ import annotations

import fcntl
import os
import subprocess  # noqa: TID251 - these programs stand alone, without rocks.core
import sys
import syslog
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Callable, NamedTuple, NoReturn, Optional, TypeVar

from comet.cli.computesets import seconds_since_epoch
from comet.cli.output import safe
from comet.client.client import Client
from comet.client.errors import CometError, NotFoundError, UnreachableError
from comet.client.records import LIVING_STATES, ClusterRecord, Computeset

BOOT_MINUTES = 15
"""A computeset has this long in addition to the job: it runs while its nodes boot, and until they are idle."""
BEFORE_END = ("created", "submitted", "running")
_LAST_SECONDS = 120

T = TypeVar("T")


class Job(NamedTuple):
    """What a job still needs, None for no limit, and its account."""

    minutes: Optional[int]
    account: str


def cluster_and_sets(
    client: Client, name: str, refuse: Callable[[str], None]
) -> tuple[ClusterRecord, list[Computeset]]:
    """The cluster and its living computesets. A refusal is given to `refuse`, and raised as it is."""
    try:
        cluster = client.cluster(name)
        return cluster, client.computesets(LIVING_STATES, cluster.name)
    except CometError as error:
        if not isinstance(error, UnreachableError):
            refuse(str(error))
        raise


def start(client: Client, cluster: ClusterRecord, names: Sequence[str], job: Job) -> int:
    """The number of a new computeset for such a job: of its account, if the cluster can charge one of that name.

    For a job without a limit, it has the walltime that the site gives to a computeset for which none is named.
    """
    walltime = None if job.minutes is None else job.minutes + BOOT_MINUTES
    account = job.account if job.account in cluster.allocations else None
    return client.start(cluster.name, list(names), allocation=account, walltime=walltime).computeset


def ends_soon(found: Computeset, now: float) -> bool:
    """Whether so little of its walltime is left that no job shall begin, or go on, there; now: by Nucleus's clock."""
    end = seconds_since_epoch(found.walltime_end)
    return end is not None and end - now < _LAST_SECONDS


def reason_of_end(client: Client, number: int, found: Optional[Computeset] = None) -> str:
    """Why nodes are not in their computeset any more; `found` where it has been read."""
    try:
        ended = found or client.computeset(number)
    except NotFoundError:
        return f"computeset {number} does not exist"
    return f"computeset {number} is {ended.state}{f': {ended.end_reason}' if ended.end_reason else ''}"


def for_each(things: Iterable[T], act: Callable[[T], None]) -> None:
    """Act on each; the last error is raised at the end. While Nucleus is away, nothing more is done."""
    trouble: Optional[CometError] = None
    for one in things:
        try:
            act(one)
        except UnreachableError:
            raise
        except CometError as error:
            trouble = error
    if trouble is not None:
        raise trouble


def output_of(*arguments: str, given: Optional[str] = None) -> str:
    """What a program of the batch system prints. OSError or SubprocessError where it fails."""
    # an account need not be text
    return subprocess.run(
        arguments, input=given, check=True, capture_output=True, text=True, errors="replace", timeout=60
    ).stdout


def one_line(text: str) -> str:
    """A reason as the programs of a batch system take it."""
    return safe(" ".join(text.split()))[:200]


def _is_next(waits: int, runs: int) -> bool:
    """Wait for the run before this one. False where another one waits already, which will read what this one would.

    Runs begin twice a minute, also while Nucleus needs minutes for an answer: they would fill the memory.
    """
    try:
        fcntl.flock(waits, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(runs, fcntl.LOCK_EX)
    fcntl.flock(waits, fcntl.LOCK_UN)
    return True


def run(name: str, configuration: str, agree: Callable[[Client], None]) -> NoReturn:
    """The program; errors go to the system log, and to standard error where there is one."""
    # Slurm closes the standard descriptors: a connection would get the number of one, and messages for it
    while os.open(os.devnull, os.O_RDWR) < 3:
        pass
    syslog.openlog(name, syslog.LOG_PERROR | syslog.LOG_PID)
    path = os.environ.get("COMET_CONFIG", configuration)
    try:
        # comet init replaces the file: who runs has locked its folder, and who waits the file
        waits, runs = os.open(path, os.O_RDONLY), os.open(Path(path).parent, os.O_RDONLY)
        if _is_next(waits, runs):
            with Client(config=path) as client:
                agree(client)
        sys.exit(0)
    except CometError as error:
        status, message = error.exit_status, str(error)
    except subprocess.CalledProcessError as error:
        status, message = 1, f"{' '.join(error.cmd)}: {error.stderr.strip() or error.returncode}"
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        is_absent = isinstance(error, FileNotFoundError) and error.filename == path
        status, message = 1, f"{error}{f': write it with comet init --config={path}' if is_absent else ''}"
    syslog.syslog(syslog.LOG_ERR, safe(message))
    sys.exit(status)
