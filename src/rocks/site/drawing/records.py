"""Reads the site for a drawing: five statements, whatever its size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.inventory.cluster_records import own_members
from rocks.site.drawing.content import LOCAL, Topology, TopologyHost, TopologyMachine, TopologyNetwork

if TYPE_CHECKING:
    from rocks.database.connection import Database

_SEPARATOR = "\x1f"
_PLACES = "GROUP_CONCAT({} ORDER BY {} SEPARATOR '\x1f')"


def read_topology(database: Database) -> Topology:
    """Networks, physical hosts, virtual machines with their clusters and disks, in the database's order."""
    networks = database.rows("SELECT name, CONCAT_WS('/', subnet, netmask) FROM subnets ORDER BY ID")
    hosts = database.rows(
        f"SELECT n.Name, COALESCE(m.Name, ''), COALESCE(n.Rack, 0), {_PLACES.format('DISTINCT s.name', 's.ID')}"
        " FROM nodes n LEFT JOIN memberships m ON m.ID = n.Membership LEFT JOIN vm_nodes v ON v.Node = n.ID"
        " LEFT JOIN networks i ON i.Node = n.ID LEFT JOIN subnets s ON s.ID = i.Subnet"
        " WHERE v.ID IS NULL GROUP BY n.ID ORDER BY n.ID"
    )
    place = "IF(COALESCE(g.nas_name, '') = '', %s, CONCAT_WS(':', g.nas_name, NULLIF(g.zpool_name, '')))"
    machines = database.rows(
        f"SELECT n.Name, COALESCE(p.Name, ''), {_PLACES.format(f'IF(d.ID IS NULL, NULL, {place})', 'd.ID')}"
        " FROM vm_nodes v JOIN nodes n ON n.ID = v.Node LEFT JOIN nodes p ON p.ID = v.PhysNode"
        " LEFT JOIN vm_disks d ON d.Vm_Node = v.ID LEFT JOIN img_nas_server g ON g.vm_disk_id = d.ID"
        " GROUP BY v.ID ORDER BY n.ID",
        (LOCAL,),
    )
    clusters = own_members(database, None)
    cluster_of = {name: found.frontend for found in clusters.values() for name in found.names}
    return Topology(
        tuple(TopologyNetwork(str(name), str(address)) for name, address in networks),
        tuple(
            TopologyHost(str(name), str(kind), int(rack), _split(found)) for name, kind, rack, found in hosts
        ),
        tuple(
            TopologyMachine(str(name), cluster_of.get(str(name), ""), str(container), _split(disks))
            for name, container, disks in machines
        ),
        {found.frontend: found.vlans for found in clusters.values()},
    )


def _split(text: str | None) -> tuple[str, ...]:
    return tuple(text.split(_SEPARATOR)) if text else ()
