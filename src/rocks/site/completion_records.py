"""Names of objects that begin with a text, for a person who completes a command line: one light statement each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rocks.database.connection import Database

MAX_NAMES = 300

_HOSTS_OF_APPLIANCE = (
    "nodes n JOIN memberships m ON m.ID = n.Membership JOIN appliances a ON a.ID = m.Appliance AND a.Name = "
)
_VOLUMES = (
    "(SELECT CONCAT(n.Name, '-vol', IF(d.Number = 1, '', d.Number - 1)) AS Volume FROM img_nas_server s"
    " JOIN (SELECT ID, Vm_Node, ROW_NUMBER() OVER (PARTITION BY Vm_Node ORDER BY ID) AS Number FROM vm_disks) d"
    " ON d.ID = s.vm_disk_id JOIN vm_nodes v ON v.ID = d.Vm_Node JOIN nodes n ON n.ID = v.Node) x"
)
"""Of machines' disks, as `storage.volumes.places.volume_name`; other volumes are known to their NAS only."""

_OF_MACHINES = " JOIN vm_nodes v ON v.Node = n.ID"

_SOURCES = {
    "adapter": ("x.Device", "ib_ports x"),
    "alias": ("x.Name", "aliases x"),
    "appliance": ("x.Name", "appliances x"),
    "applianceroute": ("x.Network", "appliance_routes x"),
    "attr": ("x.Attr", "attributes x"),
    "bootaction": ("x.Action", "bootaction x"),
    "disk": ("x.Device", "partitions x"),
    "distribution": ("x.Name", "distributions x"),
    "fence": ("x.Host", "vm_fences x"),
    "frontend": ("n.Name", f"{_HOSTS_OF_APPLIANCE}'frontend'"),
    "host": ("x.Name", "nodes x"),
    "hostroute": ("x.Network", "node_routes x"),
    "iface": ("x.Device", "networks x"),
    "key": ("x.ID", "public_keys x"),
    "lease": ("x.Name", "vm_leases x"),
    "machine": ("n.Name", f"nodes n{_OF_MACHINES}"),
    "membership": ("x.Name", "memberships x"),
    "mountpoint": ("x.Mountpoint", "partitions x"),
    "nas": ("n.Name", f"{_HOSTS_OF_APPLIANCE}'nas'"),
    "network": ("x.name", "subnets x"),
    "osroute": ("x.Network", "os_routes x"),
    "physicalhost": ("IF(v.ID IS NULL, n.Name, NULL)", f"nodes n LEFT{_OF_MACHINES}"),
    "roll": ("x.Name", "rolls x"),
    "rollarch": ("x.Arch", "rolls x"),
    "rollversion": ("x.Version", "rolls x"),
    "route": ("x.Network", "global_routes x"),
    "rule": ("x.Rulename", "firewalls x"),
    "virtualfrontend": ("n.Name", f"{_HOSTS_OF_APPLIANCE}'frontend'{_OF_MACHINES}"),
    "volume": ("x.Volume", _VOLUMES),
    "zpool": ("x.zpool_name", "img_nas_server x"),
}
"""Kind → the column and the table that have its names."""

KINDS = frozenset(_SOURCES)


def names_that_begin(database: Database, kind: str, beginning: str) -> list[str]:
    """Names of objects of a kind, sorted; at most `MAX_NAMES` and the last one.

    With the last one, all of them begin with the text with which all names in the database begin.
    """
    column, table = _SOURCES[kind]
    pattern = beginning.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    where = f"FROM {table} WHERE {column} LIKE %s"
    rows = database.rows(f"SELECT DISTINCT {column} {where} ORDER BY 1 LIMIT {MAX_NAMES}", (pattern,))
    if len(rows) == MAX_NAMES:
        rows += database.rows(f"SELECT MAX({column}) {where}", (pattern,))
    return list(dict.fromkeys(str(row[0]) for row in rows))
