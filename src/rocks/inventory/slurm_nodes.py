"""Hosts of the site that are nodes of its Slurm, where the frontend has its configuration; their names are the same."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core import dry_run
from rocks.core.errors import ToolError
from rocks.core.process import run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SECONDS = 20.0
_NO_NODE = "Invalid node name"
"""What scontrol prints of a host that Slurm does not have."""


def configuration_file() -> Path:
    """Slurm's configuration on this machine; the environment variable SLURM_CONF, which Slurm reads, overrides it."""
    return Path(os.environ.get("SLURM_CONF", "/etc/slurm/slurm.conf"))


def has_slurm() -> bool:
    """Whether the site has one: its configuration is on this machine."""
    return configuration_file().is_file()


def drain_nodes(hosts: Sequence[str], notify: Callable[[str], None]) -> None:
    """Keep Slurm from giving the hosts to further jobs; those that run go on.

    Does nothing on a site without Slurm, and for hosts that are no nodes. A Slurm that refuses or does not answer does
    not stop the command: `notify` gets what to run. One that does not answer is not asked about the others.
    """
    if not has_slurm():
        return
    is_silent = False
    for host in hosts:
        change = ("scontrol", "update", f"nodename={host}", "state=drain", "reason=rocks")
        if dry_run.would(dry_run.HERE, f"run `{' '.join(change)}`"):
            continue
        problem = "it did not answer before"
        if not is_silent:
            try:
                finished = run(change, deadline_seconds=_SECONDS)
                problem = finished.error_text.strip() if finished.exit_status else ""
            except ToolError as error:
                problem, is_silent = str(error), True
        if problem and _NO_NODE not in problem:
            notify(f"Slurm may give {host} to further jobs ({problem}); run `{' '.join(change)}`")
        elif not problem:
            notify(f"Slurm gives {host} no more jobs until `scontrol update nodename={host} state=resume`")
