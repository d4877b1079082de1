"""The states of virtual machines, as their leases and their hosts report them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rocks.core.dataclasses import dataclass
from rocks.core.errors import RocksError, without_errors
from rocks.inventory.host_requests import open_fleet
from rocks.leases import lease as leases
from rocks.leases.machine_requests import contact_hosts
from rocks.leases.plan import MOVING, SAVED, is_off_on_both

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.wire.facts import DomainFact, HostFacts

STATUS_SECONDS = 5.0
"""How long a listing waits for a host."""


ABSENT, ERROR_STATE = "nostate", "nostate-error"
OFF = "off"
LISTED_STATES = {"running": "active", "blocked": "active"}


@dataclass(frozen=True)
class VmState:
    """A machine where it may run: the word for its status, that host, and the domain there, if there is one.

    `is_leased` means that the host holds its lease; otherwise it is the container.

    `status`: active, paused, shutdown, shutoff, crashed, or moving (to another host, unless it is off on both by now);
    nostate when the host has no such domain; nostate-error when it has no host or the host does not answer.
    """

    status: str
    host: str | None = None
    domain: DomainFact | None = None
    is_leased: bool = False

    @property
    def state(self) -> str:
        """The status, with `off` for a machine without a domain, and `saved` for one whose memory is saved."""
        if self.domain is not None and self.domain.has_managed_save and self.status == "shutoff":
            return SAVED
        return OFF if self.status == ABSENT else self.status

    @property
    def text(self) -> str:
        """The word in tables, which programs of Rocks' sites read: the status, and `saved`, which Rocks had not."""
        return SAVED if self.state == SAVED else self.status


@dataclass(frozen=True)
class VmStates:
    """The states by the names of the machines, and why hosts could not be asked, by the names of the hosts."""

    states: dict[str, VmState]
    failed: dict[str, RocksError]


def ask_hosts(database: Database, hosts: Sequence[str]) -> tuple[dict[str, HostFacts], dict[str, RocksError]]:
    """The facts of each host, and why the others gave none; all at the same time, for at most `STATUS_SECONDS`."""
    with open_fleet(database, hosts) as fleet:
        answers = contact_hosts(database, fleet, hosts, limit_seconds=STATUS_SECONDS)
    failed: dict[str, RocksError] = {}
    return dict(without_errors(answers.items(), failed)), failed


def show_vm_states(database: Database, containers: Mapping[str, str | None]) -> VmStates:
    """The state of each machine; `containers` maps each machine to its container's name, or None.

    The host is that of the lease, else the container. Each host is asked once, all at the same time, for at most
    `STATUS_SECONDS`.
    """
    held = leases.read_leases(database, list(containers))
    places = {
        name: lease.host if (lease := held.get(name.lower())) and lease.is_held else container
        for name, container in containers.items()
    }
    moving = [one for one in held.values() if one.state == MOVING]
    hosts = sorted({host for host in (*places.values(), *(one.target for one in moving)) if host})
    found, failed = ask_hosts(database, hosts)
    domains = {host: {domain.name: domain for domain in facts.domains} for host, facts in found.items()}
    leased = {name for name in places if (lease := held.get(name.lower())) and lease.is_held}
    states = {name: _state(name, host, domains, name in leased) for name, host in places.items()}
    for lease in moving:
        if not is_off_on_both(lease.name, lease.host, lease.target, {**found, **failed}):
            states[lease.name] = replace(states[lease.name], status=MOVING)
    return VmStates(states, failed)


def _state(
    name: str, host: str | None, domains: Mapping[str, Mapping[str, DomainFact]], is_leased: bool
) -> VmState:
    if host is None or host not in domains:
        return VmState(ERROR_STATE, host, None, is_leased)
    domain = domains[host].get(name)
    if domain is None:
        return VmState(ABSENT, host, None, is_leased)
    return VmState(LISTED_STATES.get(domain.state, domain.state), host, domain, is_leased)
