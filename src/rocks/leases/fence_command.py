"""The site's command that switches a silent host off, before its machines are taken over."""

from __future__ import annotations

import os

from rocks.core import dry_run, process
from rocks.core.dataclasses import dataclass
from rocks.core.errors import HostError, RocksError
from rocks.core.site_programs import site_program

FENCE_SECONDS = 120.0
"""How long the command of `vm_fence_command` may take."""

FENCE_ATTRIBUTE = "vm_fence_command"


@dataclass(frozen=True)
class Force:
    """The operator's confirmation that the machines of a host that does not answer may be taken over.

    `reason` is stored with the lease. `host_is_off`: the operator has verified it, so the host's fence command is not
    run.
    """

    reason: str
    host_is_off: bool = False


def run_fence_command(host: str, command: str, force: Force) -> str | RocksError:
    """The proof that the host is off, as text for the operator; HostError when the fence command fails.

    Words NAME=value before the program are its environment, which only root can read; every user of this machine can
    read the program's arguments while it runs.
    """
    if force.host_is_off or not command:
        return f"the operator states that {host} is off: {force.reason}"
    try:
        arguments, variables = site_program(command)
        if dry_run.would(host, f"be fenced by {arguments[0]}"):
            return f"the fence command of {host} succeeded"
        process.run_checked(
            arguments, deadline_seconds=FENCE_SECONDS, environment={**os.environ, **variables}
        )
    except (RocksError, ValueError) as error:
        return HostError(
            f"{host} could not be fenced: its vm_fence_command failed ({error}); nothing was taken over. Switch it "
            "off by hand and add host-off=yes"
        )
    return f"the fence command of {host} succeeded"
