"""Change what the database says of hosts: CPUs, rack, rank, membership, actions, next boot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.actions.write_boot_files import write_boot_files
from rocks.cluster.host_plan import find_membership
from rocks.cluster.names import printable
from rocks.cluster.values import read_number
from rocks.database import boots, nodes
from rocks.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database

BOOT_ACTIONS = ("os", "run", "install")


def set_cpus(database: Database, names: Sequence[str], cpus: str) -> None:
    """Set the number of CPUs, at least 1."""
    nodes.set_column(database, names, "CPUs", read_number("cpus", cpus, 1))


def set_rack(database: Database, names: Sequence[str], rack: str) -> None:
    """Set the rack's number."""
    nodes.set_column(database, names, "Rack", read_number("rack", rack, 0))


def set_rank(database: Database, names: Sequence[str], rank: str) -> None:
    """Set the place in the rack."""
    nodes.set_column(database, names, "Rank", read_number("rank", rank, 0))


def set_membership(database: Database, names: Sequence[str], membership: str) -> None:
    """Make the hosts members of another kind."""
    found = find_membership(membership, nodes.memberships(database))
    if found is None:
        raise UserError(
            f'invalid membership "{printable(membership)}": rocks list membership shows those that are valid'
        )
    nodes.set_column(database, names, "Membership", found.id)


def set_run_action(database: Database, names: Sequence[str], action: str) -> None:
    """Set the boot action by which the hosts run, and answer their boots by it; `none` takes it away."""
    nodes.set_column(database, names, "RunAction", _existing_action(database, action))
    write_boot_files(database, names)


def set_install_action(database: Database, names: Sequence[str], action: str) -> None:
    """Set the boot action by which the hosts are installed, and answer their boots by it; `none` takes it away."""
    nodes.set_column(database, names, "InstallAction", _existing_action(database, action))
    write_boot_files(database, names)


def set_next_boot(database: Database, names: Sequence[str], action: str) -> None:
    """Set whether the hosts' next boot runs or installs them."""
    if action not in BOOT_ACTIONS:
        raise UserError(f'invalid action. action must be "os", "run" or "install", not "{printable(action)}"')
    boots.set_boot_action(database, names, action)


def _existing_action(database: Database, action: str) -> str | None:
    if action.lower() == "none":
        return None
    found = boots.find_boot_action(database, action)
    if found is None:
        raise UserError(
            f'action "{printable(action)}" does not exist: rocks list bootaction shows those that do'
        )
    return found
