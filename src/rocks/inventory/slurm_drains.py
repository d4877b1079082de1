"""Hosts of the site that are nodes of its Slurm, where the frontend has its configuration; their names are the same."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core import dry_run
from rocks.core.drain_reasons import OF_HOOKS, VM_WITHOUT_JOB
from rocks.core.errors import RocksError, ToolError
from rocks.core.job_user import user_of_jobs
from rocks.core.names import printable
from rocks.core.process import run, run_checked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_SECONDS = 20.0
_LIST = ("sinfo", "--noheader", "--all", "--Node", "--format=%N|%T|%E")
_JOBS = ("squeue", "--noheader", "--all", "--states=RUNNING,CONFIGURING,SUSPENDED,STOPPED", "--format=%A %u")
_JOBS_NAMED, _JOBS_SECONDS = 5, 5.0
_NO_NODE = "Invalid node name"
"""What scontrol prints of a host that Slurm does not have."""


def configuration_file() -> Path:
    """Slurm's configuration on this machine; the environment variable SLURM_CONF, which Slurm reads, overrides it."""
    return Path(os.environ.get("SLURM_CONF", "/etc/slurm/slurm.conf"))


def has_slurm() -> bool:
    """Whether the site has one: its configuration is on this machine."""
    return configuration_file().is_file()


def batch_jobs(hosts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The hosts with jobs that are not for machines → `job 7 of ann` of each, at most five.

    Empty on a site without Slurm. ToolError when it is silent, UserError when its user for machines is not known.
    """
    names = list(dict.fromkeys(hosts))
    if not names or not has_slurm():
        return {}
    user = user_of_jobs()
    if not _jobs_on(names):
        return {}
    found = {
        name: [f"job {number} of {who}" for number, who in _jobs_on([name]) if who != user] for name in names
    }
    return {name: tuple(jobs[:_JOBS_NAMED]) for name, jobs in found.items() if jobs}


def known_batch_jobs(hosts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """As `batch_jobs`; none while Slurm is silent."""
    try:
        return batch_jobs(hosts)
    except RocksError:
        return {}


def _jobs_on(hosts: Sequence[str]) -> list[tuple[str, str]]:
    """(number, user) of the jobs that have one of the hosts; one without number where only some are nodes."""
    with dry_run.reading():
        finished = run((*_JOBS, f"--nodelist={','.join(hosts)}"), deadline_seconds=_JOBS_SECONDS)
    if finished.exit_status and _NO_NODE not in finished.error_text:
        raise ToolError(f"squeue failed: {finished.error_text or 'it printed nothing'}")
    if finished.exit_status:
        return [("", "")] if len(hosts) > 1 else []
    return [(number, who) for number, _, who in (line.partition(" ") for line in finished.text.splitlines())]


def drain_nodes(hosts: Sequence[str], reason: str, notify: Callable[[str], None]) -> None:
    """Keep Slurm from giving the hosts to further jobs; those that run go on.

    Does nothing on a site without Slurm, and for hosts that are no nodes; one that is drained already keeps its reason.
    A Slurm that refuses or does not answer does not stop the command: `notify` gets what to run. One that does not
    answer is not asked about the others.
    """
    if not has_slurm():
        return
    import shlex

    drained: dict[str, str] = {}
    silence = ""
    try:
        drained = drained_nodes(hosts)
    except ToolError as error:
        silence = str(error)
    for host in hosts:
        resume = f"Slurm gives {host} no more jobs until `scontrol update nodename={host} state=resume`"
        if host in drained:
            notify(f"{resume}; it was drained before: {printable(drained[host])[:80]}")
            continue
        change = drain_command(host, reason)
        if dry_run.would(dry_run.HERE, f"run `{shlex.join(change)}`"):
            continue
        problem = silence
        if not silence:
            try:
                finished = run(change, deadline_seconds=_SECONDS)
                problem = finished.error_text.strip() if finished.exit_status else ""
            except ToolError as error:
                problem = str(error)
                silence = "it did not answer before"
        if problem and _NO_NODE not in problem:
            notify(f"Slurm may give {host} to further jobs ({problem}); run `{shlex.join(change)}`")
        elif not problem:
            notify(resume)


def drain_command(nodes: str, reason: str) -> tuple[str, ...]:
    """What drains the nodes, whose names are separated by commas; Slurm adds who did it, and when."""
    return ("scontrol", "update", f"nodename={nodes}", "state=drain", f"reason={reason}")


def drained_nodes(hosts: Iterable[str]) -> dict[str, str]:
    """The hosts that Slurm drains until somebody resumes them → the reason. ToolError when it is silent.

    One that its health check resumes by itself is left out: without another reason it would get jobs again.
    """
    with dry_run.reading():
        finished = run((*_LIST, f"--nodes={','.join(hosts)}"), deadline_seconds=_SECONDS)
    return {name: reason for name, reason in _drained(finished.text).items() if reason != VM_WITHOUT_JOB}


def nodes_drained_by_hooks(limit_seconds: float) -> dict[str, str]:
    """Nodes that the hooks of hosts have drained → the reason: something is on them that no job of Slurm has.

    ToolError when Slurm does not answer.
    """
    found = _drained(run_checked(_LIST, deadline_seconds=limit_seconds).text)
    return {name: reason for name, reason in found.items() if reason in OF_HOOKS}


def _drained(text: str) -> dict[str, str]:
    rows = [line.split("|", 2) for line in text.splitlines() if line.count("|") > 1]
    return {name: reason for name, state, reason in rows if state.startswith("drain")}
