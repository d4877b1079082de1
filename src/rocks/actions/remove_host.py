"""Remove hosts: the hooks, one for each thing that a host has, and last the host itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.database import leases, nodes
from rocks.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rocks.database.connection import Database


def remove_hosts(
    database: Database, names: Sequence[str], hooks: Sequence[Callable[[Sequence[str]], None]]
) -> None:
    """Remove the hosts by calling the hooks, in order, with all names.

    StateError, and no change, when a host that is not itself among those to be removed may be running on one of
    them: its lease would lead nowhere.
    """
    leaving = {name.lower() for name in names}
    for lease in leases.leases_of_hosts(database, names):
        if lease.name.lower() not in leaving:
            raise StateError(
                f"host {lease.host} may be running the virtual machine {lease.name}: stop that first "
                f"with rocks stop host vm {lease.name}"
            )
    for hook in hooks:
        hook(names)


def remove_part(database: Database, names: Sequence[str], part: str) -> None:
    """Remove one thing that the hosts have; `part` is a key of `nodes.DEPENDENT_TABLES`, `attr` or `node`."""
    if part == "attr":
        nodes.remove_attributes(database, names)
    elif part == "node":
        nodes.remove_hosts(database, names)
    else:
        nodes.remove_dependents(database, names, part)
