"""Add, rename and change hosts in the database; their aliases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.clock import utc_now
from rocks.core.errors import StateError, UserError
from rocks.core.names import check_alias, check_host_name, printable
from rocks.core.values import check_text, is_null, read_number
from rocks.install.boot.pxelinux import write_boot_files
from rocks.install.installation.records import begin_installations, forget_waiting
from rocks.install.installation.rules import INSTALL
from rocks.inventory import alias_records as aliases
from rocks.inventory import boot_records as boots
from rocks.inventory import node_records as nodes
from rocks.inventory.attributes import records as attributes
from rocks.inventory.host_records import find_local_host
from rocks.inventory.in_use_records import lock_inventory, unlock_inventory
from rocks.inventory.limits import MAX_CPUS, MAX_VM_CPUS
from rocks.inventory.loaded_host_records import which_are_vms
from rocks.inventory.machine_locks import ensure_locked
from rocks.inventory.new_host_parameters import NewHost, existing_membership, plan_host
from rocks.machine import records as table
from rocks.machine.leases import records as leases
from rocks.machine.unknown_machines import check_names_are_not_held
from rocks.network.dns.changes import names_after_commit
from rocks.storage.volumes import move_records as image_moves
from rocks.storage.volumes import place_records as image_places
from rocks.trust.handed_out_secrets import forget_handed_out

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


def check_name_unused(database: Database, name: str) -> None:
    """UserError when a host or an alias has the name."""
    taken = nodes.find_taken_names(database, [name]).get(name.lower())
    if taken is None:
        return
    kind, owner = taken
    if kind == "node":
        raise UserError(
            f"Node {printable(name)} already exists. Choose another name, or see rocks list host {owner}."
        )
    raise UserError(f"Node {printable(name)} already exists: it is an alias of {owner}. Choose another name.")


def rename_host(database: Database, name: str, new_name: str) -> list[str]:
    """Rename the host with its interfaces; the new name may differ in case only.

    Returns the disk files, as HOST:PATH, that keep the old name.

    UserError for a name that is not valid or in use. StateError for a virtual machine that may be running, because its
    domain has the old name, or with a disk on a NAS, because the volume has the old name. BusyError while another
    command changes it.
    """
    check_host_name(new_name, {appliance.lower() for appliance in nodes.appliance_names(database)})
    lock_inventory(database)
    if name.lower() != new_name.lower():
        check_name_unused(database, new_name)
        check_names_are_not_held(database, [new_name])
    ensure_locked(database, [name])
    lease = leases.read_leases(database, [name], lock=True).get(name.lower())
    if lease is not None and lease.is_held:
        raise StateError(
            f"host {name} is not renamed: it may be running on {lease.host}, where its domain has this name; stop it "
            f"first: rocks stop host vm {name}"
        )
    disks = [disk for disk in image_places.disk_locations(database, [name]) if disk.nas]
    if disks and name.lower() != new_name.lower():
        raise StateError(
            f"the volume of host {name} on {disks[0].nas} has its name: under a new name the machine would get an "
            f"empty disk; move the image elsewhere, then rocks remove host vm nas {name}"
        )
    nodes.rename_host(database, name, new_name)
    database.after_commit(lambda: unlock_inventory(database))  # what follows may wait for the broker
    names_after_commit(database)
    image_places.rename_nas(database, name, new_name)
    image_moves.rename_nas(database, name, new_name)
    leases.rename_lease_host(database, name, new_name)
    return [
        f"{vm.container.name}:{disk.path}"
        for vm in table.load_vms(database, which_are_vms(database, [new_name]))
        for disk in vm.disks
        if vm.container is not None and not disk.is_block and name.lower() in disk.name.lower()
    ]


def add_alias(database: Database, host: str, alias: str) -> None:
    """Add an alias to the host. UserError for an alias that is not valid or in use."""
    check_alias(alias, {appliance.lower() for appliance in nodes.appliance_names(database)})
    lock_inventory(database)
    taken = nodes.find_taken_names(database, [alias]).get(alias.lower())
    if taken is not None and taken[0] == "alias":
        raise UserError(f'alias "{printable(alias)}" already exists: host {taken[1]} has it')
    if taken is not None:
        raise UserError(f'alias "{printable(alias)}" is the name of a host, which always has precedence')
    aliases.insert_alias(database, host, alias)
    names_after_commit(database)


def remove_aliases(database: Database, hosts: Sequence[str], alias: str | None) -> None:
    """Remove the alias of that name, or all aliases of the hosts. UserError when no host has the alias."""
    removed = aliases.remove_aliases(database, hosts, alias)
    if alias is not None and hosts and not removed:
        raise UserError(
            f'these hosts have no alias "{printable(alias)}"; rocks list host alias shows their aliases'
        )
    names_after_commit(database)


def check_no_alias(database: Database, selector: str) -> None:
    """UserError for an alias: as a selector it means its host, of which all aliases would be removed."""
    kind, host = nodes.find_taken_names(database, [selector]).get(selector.lower(), ("", ""))
    if kind == "alias":
        raise UserError(
            f"{printable(selector)} is an alias of {host}: rocks remove host alias alias={selector} removes it, rocks "
            f"remove host alias {host} all aliases of the host"
        )


BOOT_ACTIONS = ("os", "run", "install")


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


RUN_RECIPE = "RunAction"
INSTALL_RECIPE = "InstallAction"


def store_recipe(database: Database, names: Sequence[str], column: str, action: str) -> None:
    """Set the boot action that runs or installs the hosts, without writing their boot files; `none` clears it."""
    stored = None if action.lower() == "none" else boots.existing_boot_action(database, action)
    nodes.set_column(database, names, column, stored)


def set_run_action(database: Database, names: Sequence[str], action: str) -> None:
    """Set the boot action that runs the hosts, and write their boot files; `none` clears it."""
    store_recipe(database, names, RUN_RECIPE, action)
    write_boot_files(database, names)


def set_install_action(database: Database, names: Sequence[str], action: str) -> None:
    """Set the boot action that installs the hosts, and write their boot files; `none` clears it."""
    store_recipe(database, names, INSTALL_RECIPE, action)
    write_boot_files(database, names)


def set_next_boot(database: Database, names: Sequence[str], action: str) -> None:
    """Set whether the next boot of the hosts runs or installs them; to be installed, they get their secrets anew.

    UserError, and no change, for another action, and for the installation of this machine.
    """
    if action not in BOOT_ACTIONS:
        raise UserError(f'invalid action. action must be "os", "run" or "install", not "{printable(action)}"')
    local = find_local_host(database)
    if action == INSTALL and local in names:
        raise UserError(
            f"{local} is this machine, which installs the others and cannot be installed by itself: name the other "
            "hosts"
        )
    boots.set_boot_action(database, names, action)
    if action != INSTALL:
        forget_waiting(database, names)
    else:
        begin_installations(database, names, utc_now().replace(tzinfo=None))
        database.after_commit(lambda: forget_handed_out(database.settings, names))


def remove_next_boot(database: Database, names: Sequence[str]) -> None:
    """Remove the next boot of the hosts, which then boot what they have; an installation that waits is forgotten."""
    nodes.remove_dependents(database, names, "boot")
    forget_waiting(database, names)
    write_boot_files(database, names)


COMMENT_ATTRIBUTE = "comment"
_COMMENT_LONGEST = 1024


def set_comment(database: Database, names: Sequence[str], comment: str) -> None:
    """Set the comment of the hosts, which is an attribute of theirs; NULL removes it."""
    if is_null(comment):
        attributes.delete_attributes(database, "host", names, [COMMENT_ATTRIBUTE])
        return
    check_text("comment", comment, _COMMENT_LONGEST)
    attributes.replace_attribute(database, "host", names, COMMENT_ATTRIBUTE, comment)
