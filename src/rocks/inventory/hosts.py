"""Add and change hosts in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import StateError, UserError
from rocks.core.names import printable
from rocks.core.values import check_text, is_null, read_number
from rocks.inventory import node_records as nodes
from rocks.inventory.attributes import records as attributes
from rocks.inventory.host_records import find_local_host
from rocks.inventory.inventory_lock import lock_inventory
from rocks.inventory.limits import MAX_CPUS, MAX_VM_CPUS
from rocks.inventory.loaded_host_records import which_are_vms
from rocks.inventory.new_host_parameters import NewHost, existing_membership, plan_host

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database
    from rocks.inventory.new_host_parameters import HostParameters


def add_host(database: Database, parameters: HostParameters) -> NewHost:
    """Add the host that the parameters describe. UserError, and no change, for an invalid parameter."""
    host = plan_host(parameters, nodes.appliance_names(database), nodes.memberships(database))
    lock_inventory(database)
    check_name_unused(database, host.name)
    nodes.insert_hosts(database, [host])
    return host


def shared_place_lines(database: Database, names: Sequence[str]) -> list[str]:
    """A line for each of the physical hosts that has the rack and the rank of another one of its appliance."""
    return [
        f"host {name} has the rack {rack} and the rank {rank} of host {other} of the same appliance; to change it: "
        f"rocks set host rank {name} RANK"
        for name, other, rack, rank in nodes.shared_places(database, names)
    ]


def check_name_unused(database: Database, name: str, own: str = "") -> None:
    """UserError when a host, an alias or an interface of a host other than `own` has the name."""
    taken = nodes.find_taken_names(database, [name], own).get(name.lower())
    if taken is None:
        return
    kind, owner = taken
    if kind == "node":
        raise UserError(
            f"Node {printable(name)} already exists. Choose another name, or see rocks list host {owner}."
        )
    what = "an alias" if kind == "alias" else "the name of an interface"
    raise UserError(f"Node {printable(name)} already exists: it is {what} of {owner}. Choose another name.")


def check_interface_name_unused(database: Database, name: str, host: str) -> None:
    """UserError when the name, which an interface of the host is to get, is another host's, or its alias."""
    kind, owner = nodes.find_taken_names(database, [name], host).get(name.lower(), ("interface", host))
    if kind != "interface" and owner.lower() != host.lower():
        what = "an alias of" if kind == "alias" else "the name of"
        raise UserError(
            f'interface name "{printable(name)}" is {what} the host {owner}, which would get the address of {host}. '
            "Choose another name."
        )


def set_cpus(database: Database, names: Sequence[str], cpus: str) -> None:
    """Set the number of CPUs, from 1 to MAX_CPUS, or MAX_VM_CPUS where one of the hosts is a virtual machine."""
    number = read_number("cpus", cpus, 1, MAX_CPUS)
    if number > MAX_VM_CPUS and (virtual := which_are_vms(database, names)):
        raise UserError(
            f"{virtual[0]} is a virtual machine, which has at most {MAX_VM_CPUS} CPUs, not {number}"
        )
    nodes.set_column(database, names, "CPUs", number)


def set_rack(database: Database, names: Sequence[str], rack: str) -> list[str]:
    """Set the number of the rack; returns lines as `shared_place_lines`."""
    number = read_number("rack", rack, 0)
    lock_inventory(database)
    nodes.set_column(database, names, "Rack", number)
    return shared_place_lines(database, names)


def set_rank(database: Database, names: Sequence[str], rank: str) -> list[str]:
    """Set the place in the rack; returns lines as `shared_place_lines`."""
    number = read_number("rank", rank, 0)
    lock_inventory(database)
    nodes.set_column(database, names, "Rank", number)
    return shared_place_lines(database, names)


def set_membership(database: Database, names: Sequence[str], membership: str) -> list[str]:
    """Set the membership of the hosts; returns lines as `shared_place_lines`.

    StateError, and no change, when this machine would no longer be a frontend.
    """
    found = existing_membership(membership, nodes.memberships(database))
    local = find_local_host(database)
    if local in names and found.appliance != "frontend":
        raise StateError(f"host {local} is the frontend of the site, and stays one: name the other hosts")
    lock_inventory(database)
    nodes.set_column(database, names, "Membership", found.id)
    return shared_place_lines(database, names)


COMMENT_ATTRIBUTE = "comment"
_COMMENT_LONGEST = 1024


def set_comment(database: Database, names: Sequence[str], comment: str) -> None:
    """Set the comment of the hosts, which is an attribute of theirs; NULL removes it."""
    if is_null(comment):
        attributes.delete_attributes(database, "host", names, [COMMENT_ATTRIBUTE])
        return
    check_text("comment", comment, _COMMENT_LONGEST)
    attributes.replace_attribute(database, "host", names, COMMENT_ATTRIBUTE, comment)
