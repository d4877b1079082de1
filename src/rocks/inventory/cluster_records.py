"""Virtual clusters: a virtual frontend and the machines on its VLAN (view `clusters`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import StateError
from rocks.database.sets import among

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from rocks.database.connection import Database


class Cluster(NamedTuple):
    """A cluster's machines, the frontend last, and its VLAN ids."""

    frontend: str
    names: tuple[str, ...]
    vlans: tuple[int, ...]

    @property
    def clients(self) -> tuple[str, ...]:
        """The machines except the frontend."""
        return self.names[:-1]


def members(database: Database, frontends: Sequence[str] | None) -> dict[str, Cluster]:
    """Frontend → its cluster, for the named hosts that are virtual frontends, or for all of them; one statement."""
    where, values = among("c.cluster_name", frontends)
    rows = database.rows(
        "SELECT c.cluster_name, c.vlanid, c.node_name FROM cluster_interfaces c"
        f"{where} ORDER BY c.frontend_id, c.node_id",
        values,
    )
    names: dict[str, dict[str, None]] = {}
    vlans: dict[str, set[int]] = {}
    for frontend, vlan, name in rows:
        names.setdefault(str(frontend), {})[str(name)] = None
        vlans.setdefault(str(frontend), set()).add(int(vlan))
    return {
        frontend: Cluster(
            frontend, (*(n for n in found if n != frontend), frontend), tuple(sorted(vlans[frontend]))
        )
        for frontend, found in names.items()
    }


def hosts_of_appliance(database: Database, appliance: str) -> list[tuple[str, bool]]:
    """(name, is virtual) of all hosts of the appliance, in the database's order."""
    rows = database.rows(
        "SELECT n.Name, v.ID IS NOT NULL FROM nodes n JOIN memberships m ON m.ID = n.Membership"
        " JOIN appliances a ON a.ID = m.Appliance AND a.Name = %s"
        " LEFT JOIN vm_nodes v ON v.Node = n.ID ORDER BY n.ID",
        (appliance,),
    )
    return [(str(name), bool(virtual)) for name, virtual in rows]


def clusters_of(database: Database, frontends: Sequence[str]) -> list[Cluster]:
    """The clusters of the named hosts; StateError `host X is not a virtual frontend` for a host without one."""
    found = {name.lower(): cluster for name, cluster in members(database, frontends).items()}
    for name in frontends:
        if name.lower() not in found:
            raise StateError(f"host {name} is not a virtual frontend; rocks list cluster lists the clusters")
    return [found[name.lower()] for name in frontends]


class Shared(NamedTuple):
    """A machine of one cluster that is on the VLAN of another, too."""

    name: str
    cluster: str
    other: str
    vlan: int


def shared_machines(database: Database, names: Sequence[str]) -> list[Shared]:
    """The named machines that are on VLANs of several clusters; one statement.

    A machine is of the cluster that it leads, else of that of its first interface.
    """
    own: dict[str, str] = {}
    found: dict[Shared, None] = {}
    for name, cluster, vlan in _clusters_of_machines(database, names):
        if own.setdefault(name, cluster) != cluster:
            found[Shared(name, own[name], cluster, vlan)] = None
    return list(found)


def own_clusters(database: Database, names: Sequence[str]) -> dict[str, str]:
    """Machine → frontend of its cluster, as of `shared_machines`; machines of no cluster are left out."""
    own: dict[str, str] = {}
    for name, cluster, _ in _clusters_of_machines(database, names):
        own.setdefault(name, cluster)
    return own


def _clusters_of_machines(database: Database, names: Sequence[str]) -> list[tuple[str, str, int]]:
    """(machine, cluster, VLAN id) of the named machines, each machine's own cluster first."""
    rows = database.rows(
        "SELECT c.node_name, c.cluster_name, c.vlanid FROM cluster_interfaces c"
        " JOIN networks i ON i.Node = c.node_id AND i.VlanID = c.vlanid WHERE c.node_name IN %s"
        " ORDER BY c.node_id, c.node_id <> c.frontend_id, i.ID, c.frontend_id",
        [names],
    )
    return [(str(name), str(cluster), int(vlan)) for name, cluster, vlan in rows]


def on_vlans(database: Database, names: Sequence[str], vlans: Collection[int]) -> list[str]:
    """The named hosts that have an interface on one of the VLANs, in the database's order."""
    rows = database.rows(
        "SELECT n.Name FROM nodes n WHERE n.Name IN %s"
        " AND EXISTS (SELECT 1 FROM networks i WHERE i.Node = n.ID AND i.VlanID IN %s) ORDER BY n.ID",
        [names, sorted(vlans)],
    )
    return [str(name) for (name,) in rows]


def own_members(database: Database, frontends: Sequence[str] | None) -> dict[str, Cluster]:
    """As `members`, without the machines of other clusters."""
    clusters = members(database, frontends)
    clients = list({name: None for cluster in clusters.values() for name in cluster.clients})
    others = {(one.name, one.other) for one in (shared_machines(database, clients) if clients else ())}
    return {frontend: _without(cluster, others) for frontend, cluster in clusters.items()}


def own_clusters_of(
    database: Database,
    frontends: Sequence[str],
    notify: Callable[[str], None],
    outcome: str = "is left as it is",
) -> list[Cluster]:
    """As `clusters_of`, without the machines of other clusters; a line names each, with the outcome for it."""
    clusters = clusters_of(database, frontends)
    named = {cluster.frontend for cluster in clusters}
    left: set[tuple[str, str]] = set()
    for one in shared_machines(database, list({name: None for c in clusters for name in c.clients})):
        if one.other in named and (one.name, one.other) not in left:
            left.add((one.name, one.other))
            if one.cluster not in named:
                notify(
                    f"{one.name} {outcome}: it is on VLAN {one.vlan} of the cluster {one.other}, but a machine "
                    f"of the cluster {one.cluster}; rocks list host interface {one.name} shows its VLANs"
                )
    return [_without(cluster, left) for cluster in clusters]


def _without(cluster: Cluster, others: Collection[tuple[str, str]]) -> Cluster:
    """The cluster without the machines of these (machine, cluster)."""
    return cluster._replace(
        names=tuple(name for name in cluster.names if (name, cluster.frontend) not in others)
    )
