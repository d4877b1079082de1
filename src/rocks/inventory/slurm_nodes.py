"""Hosts of the site that are nodes of its Slurm, where the frontend has its configuration; their names are the same."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core import dry_run
from rocks.core.errors import ToolError
from rocks.core.process import run

if TYPE_CHECKING:
    from collections.abc import Callable

_SECONDS = 20.0
_NO_NODE = "Invalid node name"
"""What scontrol prints of a host that Slurm does not have."""


def has_slurm() -> bool:
    """Whether the site has one: its configuration is on this machine."""
    return Path(os.environ.get("SLURM_CONF", "/etc/slurm/slurm.conf")).is_file()


def drain_node(host: str, notify: Callable[[str], None]) -> None:
    """Keep Slurm from giving the host to further jobs; the one that runs goes on.

    Does nothing on a site without Slurm, and for a host that is no node. A Slurm that refuses or does not answer does
    not stop the command: `notify` gets what to run.
    """
    change = ("scontrol", "update", f"nodename={host}", "state=drain", "reason=rocks")
    if not has_slurm() or dry_run.would(dry_run.HERE, f"run `{' '.join(change)}`"):
        return
    try:
        finished = run(change, deadline_seconds=_SECONDS)
        problem = finished.error_text.strip() if finished.exit_status else ""
    except ToolError as error:
        problem = str(error)
    if _NO_NODE in problem:
        return
    if problem:
        notify(f"Slurm may give {host} to further jobs ({problem}); run `{' '.join(change)}`")
    else:
        notify(f"Slurm gives {host} no more jobs until `scontrol update nodename={host} state=resume`")
