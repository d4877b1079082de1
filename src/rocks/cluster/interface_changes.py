"""What a change of interfaces means for virtual machines: the cluster that they are of, and the hosts' devices."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, NamedTuple

from rocks.inventory.cluster_records import own_clusters
from rocks.machine.leases.plan import MOVING, RUNNING
from rocks.machine.leases.records import read_leases
from rocks.network.interface_records import list_interfaces

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from rocks.database.connection import Database

_NAMED = 3
"""Machines that a line names."""


class Carrier(NamedTuple):
    """An interface of a physical host: what `rocks add host interface` needs, and the virtual machines on it."""

    row_id: int
    host: str
    iface: str
    parameters: tuple[tuple[str, str], ...]
    options: str
    is_sites_own: bool
    """Whether it is the frontend's on the network private."""
    machines: tuple[str, ...]


def cluster_lines(
    database: Database, names: Sequence[str], before: Mapping[str, str], *, is_synced: bool
) -> list[str]:
    """A line for each of these machines, other than frontends, whose cluster is not as `before` (`own_clusters`).

    `is_synced` says whether `rocks sync host vm` applies the change to a machine that runs.
    """
    after = own_clusters(database, names)
    changed = [
        name
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name) and name not in (before.get(name), after.get(name))
    ]
    leases = read_leases(database, changed) if changed else {}
    running = {name for name, lease in leases.items() if lease.state in (RUNNING, MOVING)}
    return [
        _cluster_line(name, before.get(name), after.get(name))
        + (_until(name, is_synced) if name.lower() in running else "")
        for name in changed
    ]


def _until(name: str, is_synced: bool) -> str:
    when = f"rocks sync host vm {name}" if is_synced else "its next start"
    return f"; it runs, and its network is as before until {when}"


def _cluster_line(name: str, old: str | None, new: str | None) -> str:
    if new is None:
        return f"{name} leaves the cluster {old}, and is of no cluster now"
    leaves = f"leaves the cluster {old} and " if old is not None else ""
    return f"{name} {leaves}joins the cluster {new}: rocks remove cluster {new} removes it, too"


def read_carriers(database: Database, hosts: Sequence[str]) -> list[Carrier]:
    """The interfaces of the physical hosts among these that virtual machines on them, or the whole site, need."""
    rows = database.rows(
        "SELECT c.ID, h.Name, c.Device, c.MAC, c.IP, s.name, c.VlanID, c.Module, c.Name, c.Options,"
        " s.name = 'private' AND m.Name = 'Frontend' AND COALESCE(c.Device, '') NOT LIKE 'vlan%%', n.Name"
        " FROM networks c JOIN nodes h ON h.ID = c.Node JOIN memberships m ON m.ID = h.Membership"
        " JOIN subnets s ON s.ID = c.Subnet"
        " LEFT JOIN (SELECT v.PhysNode, v.Node, i.VlanID, i.Subnet FROM vm_nodes v"
        " JOIN networks i ON i.Node = v.Node) i ON i.PhysNode = h.ID AND IF(c.Device LIKE 'vlan%%',"
        " i.VlanID = c.VlanID AND EXISTS (SELECT 1 FROM networks k"
        " WHERE k.Node = h.ID AND k.Device NOT LIKE 'vlan%%' AND k.Subnet = c.Subnet), c.Device IS NOT NULL AND"
        " (i.Subnet = c.Subnet AND COALESCE(i.VlanID, 0) = COALESCE(c.VlanID, 0) OR EXISTS (SELECT 1 FROM networks k"
        " WHERE k.Node = h.ID AND k.Device LIKE 'vlan%%' AND k.Subnet = c.Subnet AND k.VlanID = i.VlanID)))"
        " LEFT JOIN nodes n ON n.ID = i.Node"
        " WHERE h.Name IN %s AND h.ID NOT IN (SELECT Node FROM vm_nodes) ORDER BY c.ID, n.ID",
        [hosts],
    )
    found: dict[int, Carrier] = {}
    for number, host, device, mac, ip, subnet, vlan, module, name, options, is_sites_own, machine in rows:
        values = {"ip": ip, "mac": mac if device else None, "subnet": subnet, "vlan": vlan or None}
        values |= {"module": module, "name": name if name != host else None}
        one = found.setdefault(
            int(number),
            Carrier(
                int(number),
                str(host),
                str(device or mac),
                tuple((key, str(value)) for key, value in values.items() if value),
                str(options or ""),
                bool(is_sites_own),
                (),
            ),
        )
        if machine is not None and str(machine) not in one.machines:
            found[int(number)] = one._replace(machines=(*one.machines, str(machine)))
    return [one for one in found.values() if one.machines or one.is_sites_own]


def carrier_lines(database: Database, hosts: Sequence[str], before: Sequence[Carrier]) -> list[str]:
    """A line for each interface that hosts had `before` (`read_carriers`) and have no more: who needs it."""
    present = {(host, device or mac) for host, _, device, mac, *_ in list_interfaces(database, hosts)}
    return [_carrier_line(one, _addition(one)) for one in before if (one.host, one.iface) not in present]


def changed_carrier_lines(
    database: Database, ids: Collection[int], column: str, before: Sequence[Carrier]
) -> list[str]:
    """A line for each of these interfaces that machines or the site needed `before`, and that serves them no more.

    `column` is what was set: vlan, subnet or iface.
    """
    changed = [one for one in before if one.row_id in ids]
    if not changed:
        return []
    after = {one.row_id: one for one in read_carriers(database, sorted({one.host for one in changed}))}
    lines = []
    for one in changed:
        present = after.get(one.row_id)
        lost = one._replace(
            is_sites_own=one.is_sites_own and not (present is not None and present.is_sites_own),
            machines=tuple(name for name in one.machines if present is None or name not in present.machines),
        )
        if lost.machines or lost.is_sites_own:
            lines.append(_carrier_line(lost, _setting(one, column)))
    return lines


def _carrier_line(one: Carrier, restore: str) -> str:
    users = ["the hosts of the site"] if one.is_sites_own else []
    if one.machines:
        more = f" and {len(one.machines) - _NAMED} more" if len(one.machines) > _NAMED else ""
        users.append(
            f"{', '.join(one.machines[:_NAMED])}{more}, which may not be connected at their next start"
        )
    return f"{one.iface} of {one.host} is used by {', and by '.join(users)}; to restore it: rocks {restore}"


def _setting(one: Carrier, column: str) -> str:
    values = dict(one.parameters)
    key, value = (
        (values.get("mac", "MAC"), one.iface) if column == "iface" else (one.iface, values.get(column, "0"))
    )
    return f"set host interface {column} {one.host} {key} {shlex.quote(value)}"


def _addition(one: Carrier) -> str:
    parameters = " ".join(f"{key}={shlex.quote(value)}" for key, value in one.parameters)
    restore = f"add host interface {one.host} {one.iface} {parameters}"
    if one.options:
        restore += (
            f", then rocks set host interface options {one.host} {one.iface} {shlex.quote(one.options)}"
        )
    return restore
