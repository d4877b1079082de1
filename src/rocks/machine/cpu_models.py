"""The CPU models that libvirt of the site's hosts has: a name that none has fails at the start of a machine only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.core.near_names import did_you_mean
from rocks.inventory.host_requests import Limits, run_on_hosts
from rocks.inventory.loaded_host_records import load_hosts, physical_hosts
from rocks.machine.placement import LIBVIRT_CPU_MODES, is_cpu_model

if TYPE_CHECKING:
    from collections.abc import Collection

    from rocks.database.connection import Database


COMMAND = "virsh --connect qemu:///system cpu-models x86_64"
_HOST_SECONDS = 5


def check_cpu_model(database: Database, mode: str) -> None:
    """UserError for the name of a CPU model that no host has. Commits.

    A host that does not answer within 5 seconds is not asked; where none answers, every name passes.
    """
    if mode in LIBVIRT_CPU_MODES or not is_cpu_model(mode):
        return
    hosts = [host.name for host in load_hosts(database, physical_hosts(database)) if host.is_true("kvm")]
    known: set[str] = set()
    for result in run_on_hosts(database, hosts, COMMAND, Limits(timeout_seconds=_HOST_SECONDS)):
        if result.state == "done" and result.exit_status == 0:
            known.update(result.output.split())
    check_is_known(mode, known)


def check_is_known(mode: str, known: Collection[str]) -> None:
    """UserError unless one of the models is the mode, or there are none. Pure."""
    if known and mode not in known:
        advice = did_you_mean(mode, sorted({*LIBVIRT_CPU_MODES, *known}))
        raise UserError(
            f'no host has the CPU model "{printable(mode)}": {advice}On a host, `virsh cpu-models x86_64` lists them'
        )
