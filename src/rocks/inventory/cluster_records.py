"""Virtual clusters: a virtual frontend and the machines on its VLAN (view `clusters`, specification §3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import StateError
from rocks.database.sets import among

if TYPE_CHECKING:
    from collections.abc import Sequence

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
