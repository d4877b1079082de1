"""InfiniBand partitions of clusters, their members, and GUIDs of virtual machines; always in sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.database.sets import among, in_order
from rocks.inventory.node_records import node_ids
from rocks.network.infiniband.partition_rules import Partition, PartitionMember
from rocks.network.infiniband.pkeys import Guids, derive_guids

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rocks.database.connection import Database

LOCK = "InfiniBand partitions"
LOCK_SECONDS = 60.0

_PLACES = (
    "SELECT u.PKey, u.Name AS Name, l.Host AS Host FROM ib_key_uses u"
    " JOIN vm_leases l ON l.Name = u.Name AND l.State <> 'released'"
    " UNION SELECT u.PKey, u.Name, p.Name FROM ib_key_uses u"
    " JOIN vm_leases l ON l.Name = u.Name AND l.State <> 'released'"
    " JOIN nodes n ON n.Name = u.Name JOIN vm_nodes v ON v.Node = n.ID JOIN nodes p ON p.ID = v.PhysNode"
)
"""(key, machine, host): where machines run or are about to run; a lease may still name the host that they leave."""


class KeyedMachine(NamedTuple):
    """A virtual machine of a cluster that has a partition; `guids` None before they are assigned."""

    name: str
    partition: Partition
    guids: Guids | None


def read_partitions(database: Database, frontends: Sequence[str] | None = None) -> list[Partition]:
    """The partitions of the named frontends or of all, by key; frontends without one are omitted."""
    where, values = among("n.Name", frontends)
    rows = database.rows(
        "SELECT n.Name, p.PKey, p.Membership, p.IPoIB FROM ib_partitions p JOIN nodes n ON n.ID = p.Frontend"
        f"{where} ORDER BY p.PKey",
        values,
    )
    return [Partition(str(name), int(key), str(kind), bool(ipoib)) for name, key, kind, ipoib in rows]


def used_keys(database: Database) -> set[int]:
    """Keys of clusters, and keys under which machines may still run."""
    rows = database.rows(
        "SELECT PKey FROM ib_partitions UNION SELECT u.PKey FROM ib_key_uses u"
        " JOIN vm_leases l ON l.Name = u.Name AND l.State <> 'released'"
    )
    return {int(row[0]) for row in rows}


def insert_partition(database: Database, partition: Partition) -> None:
    """Add the partition of a cluster."""
    database.execute(
        "INSERT INTO ib_partitions (PKey, Frontend, Membership, IPoIB)"
        " SELECT %s, ID, %s, %s FROM nodes WHERE Name = %s",
        (partition.pkey, partition.membership, partition.has_ipoib, partition.frontend),
    )


def update_partition(database: Database, partition: Partition) -> None:
    """Change a partition's key, membership and IPoIB flag."""
    database.execute(
        "UPDATE ib_partitions SET PKey = %s, Membership = %s, IPoIB = %s"
        " WHERE Frontend = (SELECT ID FROM nodes WHERE Name = %s)",
        (partition.pkey, partition.membership, partition.has_ipoib, partition.frontend),
    )


def delete_partitions(database: Database, frontends: Sequence[str]) -> None:
    """Remove the partitions of these frontends."""
    database.execute(
        "DELETE p FROM ib_partitions p JOIN nodes n ON n.ID = p.Frontend WHERE n.Name IN %s",
        [frontends],
    )


def running_under(database: Database, keys: Sequence[int]) -> list[tuple[int, str, str]]:
    """(key, machine, host) of all machines that may run under one of the keys."""
    rows = database.rows(f"SELECT * FROM ({_PLACES}) w WHERE PKey IN %s ORDER BY 1, 2, 3", [keys])
    return [(int(key), str(name), str(host)) for key, name, host in rows]


def keyed_machines(database: Database, names: Sequence[str]) -> list[KeyedMachine]:
    """The machines whose cluster has a partition, in their order; with two such clusters, the lower key."""
    # not by the view `clusters`, which the server always computes for the whole site
    rows = database.rows(
        "SELECT DISTINCT n.Name, p.PKey, f.Name, p.Membership, p.IPoIB, g.Node_GUID, g.Port_GUID FROM nodes n"
        " JOIN networks i ON i.Node = n.ID AND i.VlanID > 0 JOIN networks fi ON fi.VlanID = i.VlanID"
        " JOIN subnets s ON s.ID = fi.Subnet AND s.name = 'private' JOIN ib_partitions p ON p.Frontend = fi.Node"
        " JOIN nodes f ON f.ID = p.Frontend LEFT JOIN ib_guids g ON g.Node = n.ID"
        " WHERE n.Name IN %s ORDER BY p.PKey DESC",
        [names],
    )
    found = {}
    for name, key, frontend, membership, ipoib, node, port in rows:
        guids = None if node is None else Guids(int(node), int(port))
        partition = Partition(str(frontend), int(key), str(membership), bool(ipoib))
        found[str(name)] = (str(name), KeyedMachine(str(name), partition, guids))
    return [row[1] for row in in_order(found.values(), names)]


def give_guids(database: Database, names: Iterable[str]) -> None:
    """Assign GUIDs to these virtual machines; the caller has checked under the lock that they have none."""
    machines = list(names)
    if not machines:
        return
    taken = {
        int(row[0])
        for row in database.rows(
            "SELECT Node_GUID FROM ib_guids UNION SELECT Port_GUID FROM ib_guids UNION SELECT GUID FROM ib_ports"
        )
    }
    ids = node_ids(database, machines)
    database.insert_many(
        "INSERT INTO ib_guids (Node, Node_GUID, Port_GUID) VALUES",
        [(ids[name.lower()], *guids) for name, guids in derive_guids(machines, taken).items()],
    )


def record_uses(database: Database, keys: Mapping[str, int]) -> None:
    """Record the keys under which the leases of these machines were taken."""
    database.insert_many(
        "INSERT INTO ib_key_uses (Name, PKey) VALUES",
        list(keys.items()),
        "ON DUPLICATE KEY UPDATE PKey = VALUES(PKey)",
    )


def forget_ended_uses(database: Database) -> None:
    """Remove the keys of machines that do not run any more."""
    database.execute(
        "DELETE u FROM ib_key_uses u JOIN vm_leases l ON l.Name = u.Name WHERE l.State = 'released'"
    )


def host_members(database: Database) -> list[PartitionMember]:
    """The ports of the hosts where machines run, or are about to run, under a key."""
    rows = database.rows(
        f"SELECT DISTINCT w.PKey, i.GUID, n.Name, i.Device, i.Port FROM ({_PLACES}) w"
        " JOIN ib_partitions p ON p.PKey = w.PKey JOIN nodes n ON n.Name = w.Host JOIN ib_ports i ON i.Node = n.ID"
    )
    return [
        PartitionMember(int(key), int(guid), f"{host} {device} port {port}")
        for key, guid, host, device, port in rows
    ]


def machine_members(database: Database) -> list[PartitionMember]:
    """The ports of the virtual machines that run under a key."""
    rows = database.rows(
        f"SELECT DISTINCT w.PKey, g.Port_GUID, n.Name FROM ({_PLACES}) w"
        " JOIN ib_partitions p ON p.PKey = w.PKey JOIN nodes n ON n.Name = w.Name JOIN ib_guids g ON g.Node = n.ID"
    )
    return [PartitionMember(int(key), int(guid), f"vm {name}") for key, guid, name in rows]


def reported_digest(database: Database) -> str:
    """Digest of the partitions that the subnet manager last received; empty before the first time."""
    rows = database.rows("SELECT Digest FROM ib_manager")
    return str(rows[0][0]) if rows else ""


def record_digest(database: Database, digest: str) -> None:
    """Record the digest of the partitions that the subnet manager has received."""
    database.execute(
        "INSERT INTO ib_manager (ID, Digest) VALUES (1, %s) ON DUPLICATE KEY UPDATE Digest = VALUES(Digest)",
        (digest,),
    )
