"""Take virtual machines over from a host that does not answer: fence it, or take the operator's word (decision D6)."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rocks import process
from rocks.database import leases
from rocks.database import vms as table
from rocks.errors import HostError, RocksError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rocks.actions.outcomes import Outcomes
    from rocks.cluster.records import Lease
    from rocks.database.connection import Database

FENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Force:
    """The operator's word that a silent host may lose its machines.

    `reason` is kept with the lease. `host_is_off`: the operator has seen to it, so the host's fence command is not
    run.
    """

    reason: str
    host_is_off: bool = False


def take_over_vms(
    database: Database,
    held: Mapping[str, Lease],
    silent: Mapping[str, str],
    force: Force,
    outcomes: Outcomes,
) -> None:
    """Free the leases that silent hosts hold, and leave fences for the day when the hosts come back.

    `held` has leases by lower-case name, `silent` maps a machine to its host. A machine whose host could not be
    fenced, or that nobody holds, keeps the failure that it has in `outcomes`, or gets a better one.
    """
    hosts = sorted(set(silent.values()))
    fenced = {
        host.name: _fence(host.name, host.attribute("vm_fence_command"), force)
        for host in table.load_hosts(database, hosts)
    }
    for name, host in silent.items():
        lease, proof = held.get(name.lower()), fenced.get(host, "")
        if lease is None or not lease.is_held:
            continue
        if isinstance(proof, RocksError):
            outcomes.failed[name] = proof
            continue
        leases.put_up_fences(database, [(host, name, lease.token + 1)])
        leases.release_leases(database, [name], force.reason)
        outcomes.failed.pop(name, None)
        outcomes.done[name] = (
            f"{name} was taken from {host} by force ({proof or force.reason}). If {host} is not off, {name} still "
            f"runs there and may run twice until {host} is reached again, when its old domain is destroyed",
        )


def _fence(host: str, command: str, force: Force) -> str | RocksError:
    """What proves that the host is off, or why nothing does."""
    if force.host_is_off or not command:
        return f"the operator says that {host} is off: {force.reason}"
    try:
        process.run_checked(shlex.split(command), deadline_seconds=FENCE_SECONDS)
    except (RocksError, ValueError) as error:
        return HostError(
            f"{host} could not be fenced: its vm_fence_command failed ({error}); nothing was taken over. Switch it "
            "off by hand and add host-off=yes"
        )
    return f"the fence command of {host} succeeded"
