"""What a change of interfaces means for virtual machines: the cluster that they are of, and the hosts' devices."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.names import first_few
from rocks.inventory.cluster_records import own_clusters
from rocks.inventory.records import PRIVATE_NETWORK, Interface
from rocks.leases.lease import read_leases
from rocks.leases.plan import MOVING, RUNNING
from rocks.network.guest_connections import serving
from rocks.network.interfaces import list_interfaces

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from rocks.database.connection import Database


class Carrier(NamedTuple):
    """An interface of a physical host: what `rocks add host interface` needs, and the virtual machines on it."""

    row_id: int
    host: str
    iface: str
    parameters: tuple[tuple[str, str], ...]
    options: str
    is_sites_own: bool
    """Whether it is the frontend's on the network private."""
    machines: tuple[tuple[int, str], ...]
    """Number of the machine's interface, and machine."""


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
    """The interfaces of the physical hosts among these that virtual machines on them, or the whole site, need.

    An interface serves those machines that a start would connect by it: a second one on the same network has none.
    """
    containers, frontends = _containers(database, hosts)
    served = _served(database, containers)
    found: list[Carrier] = []
    for host, interfaces in containers.items():
        own = next((one for one in interfaces if host in frontends and _is_sites_own(one)), None)
        found += [
            _carrier(one, one is own, served.get(one.id, ()))
            for one in interfaces
            if one is own or one.id in served
        ]
    return found


def _containers(
    database: Database, hosts: Sequence[str]
) -> tuple[dict[str, list[Interface]], Collection[str]]:
    """Physical host → its interfaces, as `load_interfaces`, of those among the hosts; which of them are frontends."""
    rows = database.rows(
        "SELECT h.Name, c.Device, c.MAC, c.IP, c.Name, s.name, c.VlanID, c.Module, c.Options, c.ID, m.Name = 'Frontend'"
        " FROM networks c JOIN nodes h ON h.ID = c.Node LEFT JOIN memberships m ON m.ID = h.Membership"
        " LEFT JOIN subnets s ON s.ID = c.Subnet"
        " WHERE h.Name IN %s AND h.ID NOT IN (SELECT Node FROM vm_nodes) ORDER BY c.ID",
        [hosts],
    )
    containers: dict[str, list[Interface]] = {}
    for host, device, mac, ip, name, subnet, vlan, module, options, number, _ in rows:
        containers.setdefault(str(host), []).append(
            Interface(
                str(host),
                device,
                mac,
                ip,
                name,
                subnet,
                vlan=vlan,
                module=module,
                options=options,
                id=int(number),
            )
        )
    return containers, {str(row[0]) for row in rows if row[-1]}


def _served(
    database: Database, containers: Mapping[str, Sequence[Interface]]
) -> dict[int, list[tuple[int, str]]]:
    """Interface of a container → (number of its interface, machine) of those that a start connects by it."""
    if not containers:
        return {}
    rows = database.rows(
        "SELECT h.Name, i.VlanID, s.name, i.MAC, i.ID, n.Name FROM nodes h JOIN vm_nodes v ON v.PhysNode = h.ID"
        " JOIN nodes n ON n.ID = v.Node JOIN networks i ON i.Node = v.Node LEFT JOIN subnets s ON s.ID = i.Subnet"
        " WHERE h.Name IN %s AND NOT i.Disable_KVM ORDER BY n.ID, i.ID",
        [list(containers)],
    )
    served: dict[int, list[tuple[int, str]]] = {}
    known: dict[tuple[object, ...], tuple[Interface, ...]] = {}
    for host, vlan, subnet, mac, number, machine in rows:
        key = (host, vlan, subnet, bool(mac))  # those of a cluster have the same connection
        if key not in known:
            one = Interface(str(machine), None, mac, subnet=subnet, vlan=vlan)
            known[key] = serving(one, containers[str(host)])
        for carrier in known[key]:
            served.setdefault(carrier.id, []).append((int(number), str(machine)))
    return served


def _is_sites_own(one: Interface) -> bool:
    """Whether hosts reach a frontend by this interface, if it is the first such."""
    return (one.subnet or "").lower() == PRIVATE_NETWORK and bool(one.ip) and not one.is_vlan


def _carrier(one: Interface, is_sites_own: bool, served: Sequence[tuple[int, str]]) -> Carrier:
    values = {"ip": one.ip, "mac": one.mac if one.device else None, "subnet": one.subnet}
    values |= {"vlan": str(one.vlan) if one.vlan else None, "module": one.module}
    values |= {"name": one.name if one.name != one.host else None}
    return Carrier(
        one.id,
        one.host,
        str(one.device or one.mac),
        tuple((key, value) for key, value in values.items() if value),
        one.options or "",
        is_sites_own,
        tuple(served),
    )


def carrier_lines(database: Database, hosts: Sequence[str], before: Sequence[Carrier]) -> list[str]:
    """A line for each interface that hosts had `before` (`read_carriers`) and have no more: who needs it."""
    present = {(host, device or mac) for host, _, device, mac, *_ in list_interfaces(database, hosts)}
    removed = [one for one in before if (one.host, one.iface) not in present]
    return _lines(database, removed, _addition)


def changed_carrier_lines(
    database: Database, ids: Collection[int], column: str, before: Sequence[Carrier]
) -> list[str]:
    """A line for each of these interfaces that machines or the site needed `before`, and that serves them no more.

    `column` is what was set: vlan, subnet or iface.
    """
    changed = [one for one in before if one.row_id in ids]
    return _lines(database, changed, lambda one: _setting(one, column))


def _lines(database: Database, before: Sequence[Carrier], restore: Callable[[Carrier], str]) -> list[str]:
    if not before:
        return []
    after = {one.row_id: one for one in read_carriers(database, sorted({one.host for one in before}))}
    # of an entry for a VLAN and the device below it, the latter is what machines are on
    devices = {
        number: one.iface
        for one in after.values()
        if not one.iface.startswith("vlan")
        for number, _ in one.machines
    }
    lines = []
    for one in before:
        present = after.get(one.row_id)
        machines = tuple(it for it in one.machines if present is None or it not in present.machines)
        is_sites_own = one.is_sites_own and not (present is not None and present.is_sites_own)
        if machines or is_sites_own:
            lost = one._replace(machines=machines, is_sites_own=is_sites_own)
            lines.append(_carrier_line(lost, devices, restore(one)))
    return lines


def _carrier_line(one: Carrier, devices: Mapping[int, str], restore: str) -> str:
    """`devices`: number of a machine's interface → the device that connects it now."""
    users = ["the hosts of the site"] if one.is_sites_own else []
    by_device: dict[str | None, list[str]] = {}
    for number, machine in one.machines:
        by_device.setdefault(devices.get(number), []).append(machine)
    for device, machines in by_device.items():
        names = list(dict.fromkeys(machines))
        becomes = "may not be connected at" if device is None else f"use {device} instead from"
        users.append(f"{first_few(names)}, which {becomes} their next start")
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
