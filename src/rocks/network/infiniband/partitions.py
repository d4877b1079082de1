"""InfiniBand partitions of clusters, their members, and GUIDs of virtual machines; always in sets."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.dataclasses import dataclass
from rocks.core.errors import RocksError, StateError, UserError
from rocks.database.sets import among, in_order
from rocks.inventory.attributes.known import KNOWN, value_in
from rocks.inventory.attributes.records import global_attributes
from rocks.inventory.cluster_records import clusters_of
from rocks.inventory.hosts import node_ids
from rocks.network.infiniband.pkeys import (
    DEFAULT_MEMBERSHIP_ATTRIBUTE,
    DEFAULT_PKEY,
    POOL_ATTRIBUTE,
    Guids,
    Partition,
    PartitionMember,
    PartitionTable,
    check_default_membership,
    check_sm,
    check_unique_guids,
    derive_guids,
    guid_text,
    next_pkey,
    pkey_text,
    read_membership,
    read_pkey,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.network.infiniband.subnet_manager import SubnetManager


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


# opensm's partitions.conf (opensm(8), PARTITION CONFIGURATION): generated lines between two markers.
#
# Lines outside the markers belong to the operator.
#
# Each member has its own line, which repeats name and key: opensm merges them, and a line of a thousand ports would be
# hard to read and compare. A partition without members is omitted.

BEGIN = "# rocks: begin"
END = "# rocks: end"
_HINT = " - written by `rocks sync ib partitions`; lines above and below the two markers are yours"


def generated_section(published: PartitionTable) -> str:
    """The generated section, with its markers."""
    members: defaultdict[int, list[PartitionMember]] = defaultdict(list)
    for member in sorted(published.members):
        members[member.pkey].append(member)
    lines = [BEGIN + _HINT]
    if published.default_membership != "none":
        lines.append(
            f"Default={pkey_text(DEFAULT_PKEY)}, ipoib : ALL={published.default_membership}, SELF=full ;"
        )
    for partition in sorted(published.partitions, key=lambda partition: partition.pkey):
        lines += _partition(partition, members[partition.pkey])
    return "".join(f"{line}\n" for line in (*lines, END))


def with_section(existing: str, ours: str) -> str:
    """The file with the section replaced, or appended; every other line stays.

    StateError when the markers are not exactly one pair.
    """
    lines = existing.splitlines(keepends=True)
    begins = [number for number, line in enumerate(lines) if line.startswith(BEGIN)]
    ends = [number for number, line in enumerate(lines) if line.startswith(END)]
    if not begins and not ends:
        gap = "" if not existing or existing.endswith("\n") else "\n"
        return existing + gap + ours
    if len(begins) != 1 or len(ends) != 1 or ends[0] < begins[0]:
        raise StateError(
            f'its lines "{BEGIN}" and "{END}" are not exactly one pair; remove them and the lines between them, and '
            "run it again"
        )
    return "".join(lines[: begins[0]]) + ours + "".join(lines[ends[0] + 1 :])


def _partition(partition: Partition, members: list[PartitionMember]) -> Iterator[str]:
    flags = ", ipoib" if partition.has_ipoib else ""
    for member in members:
        yield (
            f"{partition.frontend}={pkey_text(partition.pkey)}{flags} : "
            f"{guid_text(member.guid)}={partition.membership} ; # {member.owner}"
        )
        flags = ""


# Add, change and remove partitions of clusters, and publish them to the subnet manager.

NO_PKEY = "none"


@dataclass(frozen=True)
class PartitionParameters:
    """The parameters of a partition, unparsed; None for a parameter that is not given."""

    pkey: str | None = None
    membership: str | None = None
    has_ipoib: bool | None = None


def add_partition(database: Database, frontend: str, parameters: PartitionParameters) -> Partition:
    """Give a cluster a partition, with the lowest free key of the pool unless a key is given.

    StateError, and no change, when the cluster has a partition, the key is in use, or the pool has no free key.
    """
    (cluster,) = clusters_of(database, [frontend])
    database.lock(LOCK, LOCK_SECONDS)
    for existing in read_partitions(database, [frontend]):
        raise StateError(
            f"{frontend} has the partition {pkey_text(existing.pkey)}; change it with rocks set ib partition {frontend}"
        )
    partition = _new_partition(database, cluster.frontend, parameters, global_attributes(database))
    insert_partition(database, partition)
    return partition


def add_new_clusters_partition(
    database: Database, frontend: str, pkey: str | None, site: Mapping[str, str]
) -> int | None:
    """Give a new cluster a partition and return its key: the given key, else one of the pool; None without a pool.

    `site` are the global attributes.
    """
    requested = None if pkey is None else pkey.strip().lower()
    if requested == NO_PKEY or (requested is None and not _pool(site)):
        return None
    database.lock(LOCK, LOCK_SECONDS)
    partition = _new_partition(database, frontend, PartitionParameters(requested), site)
    insert_partition(database, partition)
    return partition.pkey


def check_pkey_value(pkey: str | None) -> None:
    """UserError unless it is a key, `none`, or None."""
    if pkey is not None and pkey.strip().lower() != NO_PKEY:
        read_pkey(pkey.strip())


def set_partition(database: Database, frontend: str, parameters: PartitionParameters) -> Partition:
    """Change the given parameters. StateError when the key is in use, or machines run under the present key."""
    if parameters == PartitionParameters():
        raise UserError("must supply pkey, membership or ipoib")
    database.lock(LOCK, LOCK_SECONDS)
    (present,) = _existing(database, [frontend])
    pkey = present.pkey if parameters.pkey is None else read_pkey(parameters.pkey)
    if pkey != present.pkey:
        _check_not_running(database, [present])
        _check_unused(database, pkey)
    partition = Partition(
        present.frontend,
        pkey,
        present.membership if parameters.membership is None else read_membership(parameters.membership),
        present.has_ipoib if parameters.has_ipoib is None else parameters.has_ipoib,
    )
    update_partition(database, partition)
    return partition


def remove_partitions(database: Database, frontends: Sequence[str]) -> None:
    """Remove the partitions; their keys return to the pool. StateError, and no change, while machines run."""
    database.lock(LOCK, LOCK_SECONDS)
    _check_not_running(database, _existing(database, frontends))
    delete_partitions(database, frontends)


def _new_partition(
    database: Database, frontend: str, parameters: PartitionParameters, site: Mapping[str, str]
) -> Partition:
    membership = read_membership("full" if parameters.membership is None else parameters.membership)
    if parameters.pkey is None:
        pkey = next_pkey(_pool(site), used_keys(database))
    else:
        pkey = read_pkey(parameters.pkey)
        _check_unused(database, pkey)
    return Partition(frontend, pkey, membership, parameters.has_ipoib is not False)


def _existing(database: Database, frontends: Sequence[str]) -> list[Partition]:
    found = {partition.frontend.lower(): partition for partition in read_partitions(database, frontends)}
    for name in frontends:
        if name.lower() not in found:
            raise StateError(f"{name} has no partition; add one with rocks add ib partition {name}")
    return [found[name.lower()] for name in frontends]


def _check_unused(database: Database, pkey: int) -> None:
    for partition in read_partitions(database):
        if partition.pkey == pkey:
            raise StateError(
                f"the key {pkey_text(pkey)} is in use by {partition.frontend}; rocks list ib partition shows all keys"
            )
    for _, name, host in running_under(database, [pkey]):
        raise StateError(
            f"the key {pkey_text(pkey)} is in use: {name} may still run under it on {host}; "
            f"rocks stop host vm {name}, or choose another key"
        )


def _check_not_running(database: Database, partitions: Sequence[Partition]) -> None:
    for pkey, name, host in running_under(database, [partition.pkey for partition in partitions]):
        raise StateError(
            f"the key {pkey_text(pkey)} is in use: {name} may run under it on {host}; stop it first: "
            f"rocks stop host vm {name}"
        )


def _pool(site: Mapping[str, str]) -> str:
    return site.get(POOL_ATTRIBUTE, "").strip()


class SyncedPartitions(NamedTuple):
    """What was published to the subnet manager: the file, whether it changed, and its numbers of entries."""

    path: str
    changed: bool
    partitions: int
    members: int


def partitions_document(database: Database) -> str:
    """The file as `sync_partitions` would write it."""
    attributes = _attributes(database)
    path = attributes["ib_partitions_file"]
    return _merged(path, _manager(attributes).read_partitions(), _read_table(database, attributes))


def sync_partitions(database: Database, always: bool = True) -> SyncedPartitions | None:
    """Write the file and make opensm read it; without `always` only when something changed (else None). Commits.

    One command at a time does this. StateError, ToolError or HostError when the file cannot be written or opensm cannot
    be signalled; the next call tries again.
    """
    with database.locked(LOCK, LOCK_SECONDS):
        attributes = _attributes(database)
        manager, path = _manager(attributes), attributes["ib_partitions_file"]
        partitions = _read_table(database, attributes)
        text = _merged(path, manager.read_partitions(), partitions)
        digest = hashlib.sha256(text.encode()).hexdigest()
        if not always and digest == reported_digest(database):
            return None
        database.end_reading()  # the manager's programs may take their time
        changed = manager.write_partitions(text)
        manager.reload()
        record_digest(database, digest)
        database.commit()
        return SyncedPartitions(
            path, changed, len({member.pkey for member in partitions.members}), len(partitions.members)
        )


def publish_if_changed(database: Database) -> tuple[str, ...]:
    """As `sync_partitions` when something changed. Commits; returns a warning instead of an error."""
    try:
        sync_partitions(database, always=False)
    except RocksError as error:
        database.rollback()
        return (
            f"Warning: the InfiniBand partitions are not published: {error}. Then run rocks sync ib partitions",
        )
    return ()


def _merged(path: str, existing: str, partitions: PartitionTable) -> str:

    try:
        return with_section(existing, generated_section(partitions))
    except StateError as error:
        raise StateError(f"{path} cannot be changed: {error}") from None


def _read_table(database: Database, attributes: Mapping[str, str]) -> PartitionTable:
    members = host_members(database)
    if check_sm(attributes["ib_sm"]):
        members += machine_members(database)
    check_unique_guids(tuple(members))
    return PartitionTable(
        check_default_membership(attributes[DEFAULT_MEMBERSHIP_ATTRIBUTE]),
        tuple(read_partitions(database)),
        tuple(members),
    )


def sees_machines(database: Database) -> bool:
    """Whether the subnet manager gives keys to the GUIDs of machines, and not to ports of hosts only."""
    return check_sm(_attributes(database)["ib_sm"])


def _attributes(database: Database) -> dict[str, str]:
    found = global_attributes(database)
    return {name: value_in(found, name) for name in KNOWN if name.startswith("ib_")}


def _manager(attributes: Mapping[str, str]) -> SubnetManager:
    # late, as the above: every addition of a cluster imports this module, and few sites have InfiniBand
    from rocks.network.infiniband.subnet_manager import ManagerSettings, SubnetManager

    names = ("ib_partitions_file", "ib_opensm_pid_file", "ib_opensm_reload")
    return SubnetManager(ManagerSettings(*(attributes[name] for name in names)))
