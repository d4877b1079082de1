"""Remove and rename hosts, with all records that have their names.

Before a removal every check is done, of this module and of the hooks; then the hooks' work. Work outside the
database comes from hooks that do nothing for what is done already: the same command, run again, completes a
removal that was interrupted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import StateError
from rocks.core.names import check_new_host_name, first_few
from rocks.inventory import cluster_records as clusters
from rocks.inventory import hosts
from rocks.inventory.host_records import find_local_host, lock_inventory, unlock_inventory
from rocks.inventory.hosts import check_name_unused
from rocks.inventory.loaded_host_records import which_are_vms
from rocks.leases import lease as leases
from rocks.leases.fences import check_names_are_not_held
from rocks.leases.lease import check_not_moving, ensure_locked
from rocks.machine import record as table
from rocks.network.dns.changes import names_after_commit
from rocks.storage.volumes import move_records, place_records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.cluster_records import Cluster


_NAMED_AT_MOST = 5


class RemovalHook(NamedTuple):
    """A hook of `remove host`: `check` raises an error before anything is changed, `run` does the work."""

    check: Callable[[Sequence[str]], None]
    run: Callable[[Sequence[str]], None]


def remove_hosts(database: Database, names: Sequence[str], hooks: Sequence[RemovalHook]) -> None:
    """Remove the hosts by calling the hooks, in order, with all names.

    StateError, and no change, for the frontend, for the frontend of a virtual cluster, and for a host that holds a
    virtual machine or an image of one that is not removed with it.
    """
    _check_not_this_frontend(database, names)
    for cluster in clusters.own_members(database, names).values():
        raise _leads_cluster(cluster)
    _check_unused(database, names)
    for hook in hooks:
        hook.check(names)
    for hook in hooks:
        hook.run(names)
    from rocks.site.shared_keys import rename_keys_after_commit  # paramiko is slow to load

    # last: a hook may commit, and names that cannot be written are not its error
    names_after_commit(database)
    rename_keys_after_commit(database, dict.fromkeys(names, ""))


def remove_part(database: Database, names: Sequence[str], part: str) -> None:
    """Remove one kind of rows of the hosts; `part` is a key of `hosts.DEPENDENT_TABLES`, `attr` or `node`."""
    if part == "attr":
        hosts.remove_attributes(database, names)
    elif part == "node":
        hosts.remove_hosts(database, names)
    else:
        hosts.remove_dependents(database, names, part)


def lock_hosts(database: Database, names: Sequence[str]) -> None:
    """Keep others from changing the hosts until the transaction ends; StateError when another command removed one.

    So when one of them holds a machine or an image meanwhile: from here on none is placed there.
    """
    left = hosts.lock_hosts(database, names)
    gone = [name for name in names if name not in left]
    if gone:
        others = "; repeat this with the other hosts, which rocks list host shows" if left else ""
        raise StateError(f"another command has removed {first_few(gone, _NAMED_AT_MOST)} meanwhile{others}")
    _check_unused(database, names)


def check_whole_clusters(database: Database, names: Sequence[str]) -> None:
    """StateError when one of the machines is the frontend of a virtual cluster with machines that are not among them.

    They would run on without being listed as a cluster.
    """
    leaving = {name.lower() for name in names}
    for cluster in clusters.own_members(database, names).values():
        if any(name.lower() not in leaving for name in cluster.names):
            raise _leads_cluster(cluster)


def _leads_cluster(cluster: Cluster) -> StateError:
    count = len(cluster.clients)
    computes = "1 compute" if count == 1 else f"{count} computes"
    return StateError(
        f"host {cluster.frontend} is the frontend of a virtual cluster with {computes}, "
        f"which would stay without it; to remove the whole cluster: rocks remove cluster {cluster.frontend}"
    )


def _check_not_this_frontend(database: Database, names: Sequence[str]) -> None:
    own = find_local_host(database)
    if own is None:
        physical = [
            name for name, is_virtual in clusters.hosts_of_appliance(database, "frontend") if not is_virtual
        ]
        own = physical[0] if len(physical) == 1 else None
    if own is not None and own.lower() in (name.lower() for name in names):
        raise StateError(
            f"host {own} is the frontend of the site and cannot be removed; name the other hosts"
        )


def _check_unused(database: Database, names: Sequence[str]) -> None:
    leaving = {name.lower() for name in names}
    held = leases.leases_of_hosts(database, names, machines=names)
    check_not_moving(database, held)
    for lease in held:
        if lease.name.lower() not in leaving:
            raise StateError(
                f"host {lease.host} may be running the virtual machine {lease.name}: stop it first "
                f"with rocks stop host vm {lease.name}"
            )
    placed = _staying(_machines_on(database, names), leaving)
    if placed:
        host, machines = placed
        raise StateError(
            f"host {host} is the container of {first_few(machines, _NAMED_AT_MOST)}: place each elsewhere with "
            f"rocks set host vm {machines[0]} physnode=HOST, or remove them with rocks remove host vm "
            f"{_as_arguments(machines)}"
        )
    with_disks, doubted = _machines_with_content_on(database, names)
    undecided = _staying(doubted, leaving)
    if undecided:
        host, (name, *_) = undecided
        raise StateError(
            f"host {host} may have the current disks of {name}, whose live migration was given up by force; decide "
            f"that first: rocks move host vm {name} HOST disks=there"
        )
    stored = _staying(with_disks, leaving)
    if stored:
        nas, machines = stored
        raise StateError(
            f"host {nas} is the NAS of disks of {first_few(machines, _NAMED_AT_MOST)}: move the images, then "
            f"rocks set host vm nas {_as_arguments(machines)} nas=NAS, or rocks remove host vm nas "
            f"{_as_arguments(machines)}"
        )


def _staying(pairs: Sequence[tuple[str, str]], leaving: set[str]) -> tuple[str, list[str]] | None:
    """The first host with machines that are not removed, and those machines; None when there is none."""
    staying = [(host, name) for host, name in pairs if name.lower() not in leaving]
    return (staying[0][0], [name for host, name in staying if host == staying[0][0]]) if staying else None


def _as_arguments(names: Sequence[str]) -> str:
    """The names as arguments of a command line."""
    return " ".join([*names[:_NAMED_AT_MOST], *(["…"] if len(names) > _NAMED_AT_MOST else [])])


def _machines_on(database: Database, hosts: Sequence[str]) -> list[tuple[str, str]]:
    """(container, virtual machine) of the machines that are placed on these hosts, whether they run or not."""
    rows = database.rows(
        "SELECT p.Name, n.Name FROM vm_nodes v JOIN nodes n ON n.ID = v.Node JOIN nodes p ON p.ID = v.PhysNode"
        " WHERE p.Name IN %s ORDER BY p.ID, n.ID",
        [hosts],
    )
    return [(str(host), str(name)) for host, name in rows]


def _machines_with_content_on(
    database: Database, hosts: Sequence[str]
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(NAS, machine) of the machines with a disk on one of these NASes; (host, machine) of disks in doubt there.

    One statement: a removal of a host asks for both.
    """
    rows = database.rows(
        "SELECT FALSE, s.nas_name, n.Name, n.ID FROM img_nas_server s JOIN vm_disks d ON d.ID = s.vm_disk_id"
        " JOIN vm_nodes v ON v.ID = d.Vm_Node JOIN nodes n ON n.ID = v.Node"
        " WHERE s.nas_name IN %s"
        " UNION SELECT TRUE, h.Name, n.Name, n.ID FROM vm_disk_copies c JOIN nodes h ON h.ID = c.Host"
        " JOIN vm_nodes v ON v.ID = c.Vm_Node JOIN nodes n ON n.ID = v.Node"
        " WHERE c.May_Be_Current AND h.Name IN %s ORDER BY 1, 2, 4",
        [hosts, hosts],
    )
    stored = [(str(host), str(name)) for in_doubt, host, name, _ in rows if not in_doubt]
    return stored, [(str(host), str(name)) for in_doubt, host, name, _ in rows if in_doubt]


def rename_host(database: Database, name: str, new_name: str) -> list[str]:
    """Rename the host with its interfaces; the new name may differ in case only.

    Returns the disk files, as HOST:PATH, that keep the old name.

    UserError for a name that is not valid or in use. StateError for a virtual machine that may be running, because its
    domain has the old name, or with a disk on a NAS, because the volume has the old name. BusyError while another
    command changes it.
    """
    from rocks.site.shared_keys import rename_keys_after_commit  # paramiko is slow to load

    check_new_host_name(new_name, {appliance.lower() for appliance in hosts.appliance_names(database)})
    lock_inventory(database)
    if name.lower() != new_name.lower():
        check_name_unused(database, new_name, name)
        check_names_are_not_held(database, [new_name])
    ensure_locked(database, [name])
    lease = leases.read_leases(database, [name], lock=True).get(name.lower())
    if lease is not None and lease.is_held:
        raise StateError(
            f"host {name} is not renamed: it may be running on {lease.host}, where its domain has this name; stop it "
            f"first: rocks stop host vm {name}"
        )
    disks = [disk for disk in place_records.disk_locations(database, [name]) if disk.nas]
    if disks and name.lower() != new_name.lower():
        raise StateError(
            f"the volume of host {name} on {disks[0].nas} has its name: under a new name the machine would get an "
            f"empty disk; move the image elsewhere, then rocks remove host vm nas {name}"
        )
    hosts.rename_host(database, name, new_name)
    database.after_commit(lambda: unlock_inventory(database))  # what follows may wait for the broker
    names_after_commit(database)
    rename_keys_after_commit(database, {new_name: "", name: new_name})
    place_records.rename_nas(database, name, new_name)
    move_records.rename_nas(database, name, new_name)
    leases.rename_lease_host(database, name, new_name)
    return [
        f"{vm.container.name}:{disk.path}"
        for vm in table.load_vms(database, which_are_vms(database, [new_name]))
        for disk in vm.disks
        if vm.container is not None and not disk.is_block and name.lower() in disk.name.lower()
    ]
