"""The states of virtual machines for listings, with warnings about what an operator should know."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, NamedTuple

from rocks.commands._framework.tables import error_fields
from rocks.core.errors import RocksError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rocks.commands import Command
    from rocks.machine.listing import VmState


class VmPresence(NamedTuple):
    """A machine where it runs: its status as `VmState` has it; the values are None when it is off."""

    status: str = ""
    state: str = ""
    text: str = ""
    host: str | None = None
    memory_mb: int | None = None
    cpus: int | None = None
    disks: tuple[str, ...] | None = None


def presence_of(state: VmState) -> VmPresence:
    """The values that a running machine has."""
    domain, texts = state.domain, (state.status, state.state, state.text)
    if domain is None or domain.state == "shutoff":
        return VmPresence(*texts, state.host if state.is_leased else None)
    return VmPresence(*texts, state.host, domain.memory_mb, domain.cpus, domain.disks)


def check_may_ask(command: Command) -> None:
    """UserError for another user than root, whom no host answers."""
    if os.geteuid() != 0:
        raise UserError(f"only root can ask the hosts: sudo rocks {' '.join(command.command_path)}")


def states_for_listing(command: Command, containers: Mapping[str, str | None]) -> dict[str, VmState]:
    """Machine → its state. Hosts that cannot be asked, and machines that listen on the network, are named at once."""
    # the hosts are reached by heavy libraries
    from rocks.machine.consoles import warn_of_listeners
    from rocks.machine.listing import ERROR_STATE, VmState, show_vm_states

    if os.geteuid() != 0:
        command.notify(
            "Warning: the states are unknown, because only root can ask the hosts: "
            f"sudo rocks {' '.join(command.command_path)} status=yes"
        )
        return {name: VmState(ERROR_STATE) for name in containers}
    found = show_vm_states(command.db, containers)
    for host, error in found.failed.items():
        command.notify(f"Warning: the states of machines on {host} are unknown: {error}")
    warn_of_listeners(
        {
            name: (state.host or "", state.domain.listeners)
            for name, state in found.states.items()
            if state.domain
        },
        command.notify,
    )
    return found.states


@contextlib.contextmanager
def states_afterwards(command: Command, names: Sequence[str]) -> Iterator[None]:
    """After the block print the states of the machines, if json=yes asks for them; also after an error, which stays.

    An object of a machine that failed has its `error` (`error_fields`).
    """
    failure = None
    try:
        yield
    except RocksError as error:
        failure = error
    if names and command.fillFlag("json") and not command.is_dry:
        listed = json.loads(command.command("list.host.vm", [*names, "status=yes", "json=yes"]))
        for one in listed:
            its = command.failures.get(one["vm-host"].rstrip(":")) or failure
            if its is not None:
                one["error"] = error_fields(its)
        command.showNow(json.dumps(listed, indent=4) + "\n")
    if failure is not None:
        raise failure
