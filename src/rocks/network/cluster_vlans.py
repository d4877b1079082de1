"""VLANs: which cluster has them, and which hosts carry them through a device; statements."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database

_NODE = "(SELECT ID FROM nodes WHERE Name = %s)"


class HostVlan(NamedTuple):
    """A VLAN that a physical host carries through its device on a network."""

    host: str
    vlan: int
    network: str


def claim_vlan(database: Database, vlan: int, frontend: str) -> None:
    """Assign a VLAN id to a virtual cluster; BusyError when another cluster has it."""
    database.execute(f"INSERT INTO cluster_vlans (VlanID, Frontend) VALUES (%s, {_NODE})", (vlan, frontend))


def claim_own_vlans(database: Database, names: Sequence[str]) -> None:
    """Assign the VLAN ids of virtual frontends among the named hosts to their clusters, unless others have them."""
    database.execute(
        "INSERT IGNORE INTO cluster_vlans (VlanID, Frontend) SELECT DISTINCT c.vlanid, n.ID FROM clusters c"
        " JOIN nodes n ON n.Name = c.cluster_name WHERE n.Name IN %s",
        [names],
    )


def other_owner_of_vlan(database: Database, vlan: int, names: Sequence[str]) -> tuple[str, str, bool] | None:
    """(virtual frontend among the named hosts, frontend of the other cluster that has the VLAN id, whether it is in
    use); None without.

    It is while another machine is on it, besides named computes, or a machine of the other cluster may run: that may
    have left it in its record alone.
    """
    rows = database.rows(
        "SELECT n.Name, o.Name, EXISTS (SELECT 1 FROM networks i JOIN vm_nodes w ON w.Node = i.Node"
        " JOIN nodes x ON x.ID = i.Node WHERE i.VlanID = c.VlanID AND x.ID <> n.ID"
        " AND (x.Membership = m.ID OR x.Name NOT IN %s)) OR EXISTS (SELECT 1 FROM vm_leases l JOIN nodes y"
        " ON y.Name = l.Name WHERE l.State <> 'released' AND (y.ID = o.ID OR y.ID IN (SELECT a.Node FROM networks a"
        " JOIN networks b ON b.VlanID = a.VlanID WHERE b.Node = o.ID AND a.VlanID > 0)))"
        " FROM cluster_vlans c JOIN nodes o ON o.ID = c.Frontend"
        " JOIN memberships m ON m.Name = 'Frontend' JOIN nodes n ON n.Membership = m.ID AND n.ID <> c.Frontend"
        " JOIN vm_nodes v ON v.Node = n.ID WHERE c.VlanID = %s AND n.Name IN %s ORDER BY n.ID",
        [names, vlan, names],
    )
    return (str(rows[0][0]), str(rows[0][1]), bool(rows[0][2])) if rows else None


def move_vlan(database: Database, vlan: int, frontend: str) -> None:
    """Assign a VLAN id that another cluster has left to the cluster of this frontend."""
    database.execute(f"UPDATE cluster_vlans SET Frontend = {_NODE} WHERE VlanID = %s", (frontend, vlan))


def record_host_vlans(database: Database, host_vlans: Sequence[HostVlan]) -> None:
    """Record that hosts carry VLANs, where they do not yet.

    An existing device `vlan<N>` without VLAN id or network is completed.
    """
    if host_vlans:
        row = f"({_NODE}, %s, (SELECT ID FROM subnets WHERE name = %s), %s)"
        database.execute(
            f"INSERT INTO networks (Node, Device, Subnet, VlanID) VALUES {', '.join([row] * len(host_vlans))}"
            " ON DUPLICATE KEY UPDATE Subnet = COALESCE(Subnet, VALUES(Subnet)), VlanID = VALUES(VlanID)",
            [cell for host, vlan, network in host_vlans for cell in (host, f"vlan{vlan}", network, vlan)],
        )


def drop_unused_vlans(database: Database, vlans: Sequence[int]) -> None:
    """Delete the hosts' entries for the VLANs that no virtual machine on them uses any more."""
    database.execute(
        "DELETE c FROM networks c WHERE c.VlanID IN %s AND c.Device = CONCAT('vlan', c.VlanID)"
        " AND NOT EXISTS (SELECT 1 FROM vm_nodes v JOIN (SELECT Node, VlanID FROM networks) i"
        " ON i.Node = v.Node WHERE v.PhysNode = c.Node AND i.VlanID = c.VlanID)",
        [vlans],
    )
