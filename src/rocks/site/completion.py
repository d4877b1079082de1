"""Names of objects for a person who completes a command line. Light: it is imported at each press of a key."""

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

STORED_KINDS = frozenset(_SOURCES)


def stored_names_that_begin(database: Database, kind: str, beginning: str) -> list[str]:
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


# Names for all kinds: the stored ones, images of the library, and files of the graph.

IMAGE, GRAPH, NODE = "image", "graph", "node"
KINDS = STORED_KINDS | {IMAGE, GRAPH, NODE}
"""What a declaration may name by `of`, besides files and folders."""


def names_that_begin(database: Database, kind: str, beginning: str) -> list[str]:
    """Names of objects of a kind, sorted: images of the library, files of the graph; of attributes
    also those that the system reads; all others of the database."""
    if kind in (GRAPH, NODE):
        return [name for name in _graph_names(kind) if name.startswith(beginning)]
    if kind == "attr":
        return _attribute_names(database, beginning)
    if kind != IMAGE:
        return stored_names_that_begin(database, kind, beginning)
    from rocks.library.library_folder import library_folder
    from rocks.library.records import image_names

    return [name for name in image_names(library_folder(database)) if name.startswith(beginning)]


def _attribute_names(database: Database, beginning: str) -> list[str]:
    """The attributes that the system reads, and the others that are in use."""
    from rocks.inventory.attributes.known import KNOWN
    from rocks.inventory.attributes.rules import known_spelling

    stored = stored_names_that_begin(database, "attr", beginning)
    known = [name for name in KNOWN if name.startswith(beginning)]
    return sorted({*known, *(name for name in stored if known_spelling(name) not in known)})


def _graph_names(kind: str) -> list[str]:
    """The graphs, or the node files without their ending, of these programs and of installed rolls."""
    from rocks.install.graph_files import own_folders

    if kind == GRAPH:
        paths = (path for folder in own_folders() for path in (folder / "graphs").iterdir() if path.is_dir())
        return sorted({path.name for path in paths})
    return sorted({path.stem for folder in own_folders() for path in (folder / "nodes").glob("*.xml")})
