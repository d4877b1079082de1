"""Names, addresses, VLAN ids and slices in use at the site, and the free resources of its hosts."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from rocks.inventory.new_host_parameters import Membership
from rocks.inventory.reserved_addresses import SOURCES, split_addresses
from rocks.machine.addition_plan import SiteInventory
from rocks.network.interface_rules import Subnet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.database.connection import Database

_Cells = tuple[str, ...]

_SITE: tuple[tuple[str, _Cells, str], ...] = (
    ("name", ("Name",), "nodes"),
    ("name", ("Name",), "aliases"),
    ("name", ("i.Name",), "networks i JOIN nodes n ON n.ID = i.Node WHERE i.Name <> n.Name"),
    ("appliance", ("Name",), "appliances"),
    (
        "membership",
        ("m.Name", "a.Name", "CAST(m.ID AS CHAR)", "a.OS"),
        "memberships m JOIN appliances a ON a.ID = m.Appliance",
    ),
    ("mac", ("MAC",), "networks WHERE MAC IS NOT NULL"),
    ("ip", ("IP",), "networks WHERE IP IS NOT NULL"),
    ("vlan", ("CAST(VlanID AS CHAR)",), "networks WHERE VlanID > 0 GROUP BY VlanID"),
    ("vlan", ("CAST(VlanID AS CHAR)",), "cluster_vlans"),
    ("vlan", ("SUBSTRING(Device, 5)",), "networks WHERE Device REGEXP '^vlan[0-9]{1,4}$' GROUP BY Device"),
)
"""(kind, columns, FROM clause), for the whole site."""

_CONTAINERS: tuple[tuple[str, _Cells, str], ...] = (
    (
        "partition",
        ("n.Name", "r.Mountpoint", "r.PartitionSize"),
        "partitions r JOIN nodes n ON n.ID = r.Node",
    ),
    (
        "carrier",
        ("n.Name", "s.name"),
        "networks i JOIN nodes n ON n.ID = i.Node AND LEFT(i.Device, 4) <> 'vlan'"
        " JOIN subnets s ON s.ID = i.Subnet",
    ),
    ("slice", ("n.Name", "CAST(v.Slice AS CHAR)"), "vm_nodes v JOIN nodes n ON n.ID = v.PhysNode"),
)
"""The same, for named hosts `n`."""

_MAX_CELLS = 4


def read_inventory(database: Database, containers: Sequence[str]) -> SiteInventory:
    """The names and numbers in use at the whole site, its memberships, and the containers' resources; one statement.

    A VLAN is in use when an interface is on it, a cluster has it, or some host has a device of its name.
    """
    found: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for kind, *cells in _read(database, containers):
        found[kind].append(tuple(cells))
    slices: defaultdict[str, set[int]] = defaultdict(set)
    partitions: defaultdict[str, list[tuple[str | None, str | None]]] = defaultdict(list)
    carriers: defaultdict[str, set[str]] = defaultdict(set)
    for host, number, *_ in found["slice"]:
        slices[host.lower()].add(int(number))
    for host, mount, size, _ in found["partition"]:
        partitions[host.lower()].append((mount, size))
    for host, network, *_ in found["carrier"]:
        carriers[host.lower()].add(network)
    return SiteInventory(
        names={name.lower(): name for name in _first(found, "name")},
        macs=_first(found, "mac"),
        ips=_first(found, "ip"),
        reserved_ips=split_addresses(_first(found, "reserved")),
        vlans={int(vlan) for vlan in _first(found, "vlan")},
        slices=dict(slices),
        appliances={name.lower() for name in _first(found, "appliance")},
        memberships=tuple(
            Membership(int(number), name, appliance, system or "linux")
            for name, appliance, number, system in found["membership"]
        ),
        partitions=dict(partitions),
        carriers=dict(carriers),
    )


def other_with_slice(database: Database, vm: str, container: str, number: int) -> str | None:
    """A virtual machine other than `vm` that has the slice of the physical host."""
    rows = database.rows(
        "SELECT n.Name FROM vm_nodes v JOIN nodes n ON n.ID = v.Node JOIN nodes p ON p.ID = v.PhysNode"
        " WHERE p.Name = %s AND v.Slice = %s AND n.Name <> %s ORDER BY n.ID",
        (container, number, vm),
    )
    return str(rows[0][0]) if rows else None


def load_subnets(database: Database) -> dict[str, tuple[int, Subnet]]:
    """Network in lower case → (ID, network)."""
    rows = database.rows("SELECT ID, name, subnet, netmask FROM subnets")
    return {
        str(name).lower(): (int(i), Subnet(str(name), subnet or "", mask or ""))
        for i, name, subnet, mask in rows
    }


def _read(database: Database, containers: Sequence[str]) -> list[tuple[Any, ...]]:
    branches = [_branch(kind, cells, source) for kind, cells, source in _SITE]
    branches += [_branch("reserved", (column,), source) for column, source in SOURCES]
    if containers:
        branches += [
            _branch(kind, cells, f"{source} WHERE n.Name IN %s") for kind, cells, source in _CONTAINERS
        ]
    values = [containers] * len(_CONTAINERS) if containers else ()
    return database.rows(" UNION ALL ".join(branches), values)


def _branch(kind: str, cells: _Cells, source: str) -> str:
    columns = [*cells, *["NULL"] * (_MAX_CELLS - len(cells))]
    return f"SELECT '{kind}', {', '.join(columns)} FROM {source}"


def _first(found: Mapping[str, list[tuple[Any, ...]]], kind: str) -> list[str]:
    return [str(cells[0]) for cells in found.get(kind, ())]
