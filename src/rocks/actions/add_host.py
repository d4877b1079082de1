"""Add a host: its node and its attribute `os`; no interface, no boot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.cluster.host_plan import NewHost, plan_host
from rocks.cluster.names import printable
from rocks.database import nodes
from rocks.errors import UserError

if TYPE_CHECKING:
    from rocks.cluster.host_plan import HostParameters
    from rocks.database.connection import Database


def add_host(database: Database, words: HostParameters) -> NewHost:
    """Add the host that the words describe. UserError, and no change, for anything that is wrong with them."""
    host = plan_host(words, nodes.appliance_names(database), nodes.memberships(database))
    refuse_taken_name(database, host.name)
    nodes.insert_hosts(database, [host])
    return host


def refuse_taken_name(database: Database, name: str) -> None:
    """UserError when a node or an alias has the name already."""
    taken = nodes.find_taken_names(database, [name]).get(name.lower())
    if taken is None:
        return
    kind, owner = taken
    if kind == "node":
        raise UserError(
            f"Node {printable(name)} already exists. Choose another name, or see rocks list host {owner}."
        )
    raise UserError(f"Node {printable(name)} already exists: it is an alias of {owner}. Choose another name.")
