"""What a poll changes in the mirror, from what is known and what was listed; pure."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from nucleus.mirror.observations import Changes, KnownCluster, KnownNode, NodeValues
from nucleus.records import NewEvent

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from nucleus.backends.shapes import Image, Machine, Member
    from nucleus.records import Interface

POLLS_UNTIL_GONE = 2
"""A machine that so many complete polls did not list is gone."""

POLLS_UNTIL_FOLLOWED = 5
"""One that is listed under another name, in no cluster, has left its own after so many; it may be renamed in each."""


class Listed(NamedTuple):
    """What the commands listed; None where one failed or was not due.

    `has_all_images`: every NAS answered. `began`: when the commands did, and `now`, both by the database's clock.
    """

    members: list[Member] | None = None
    interfaces: Mapping[str, tuple[Interface, ...]] | None = None
    gateways: Mapping[str, str] | None = None
    machines: Mapping[str, Machine] | None = None
    images: Mapping[str, Image] | None = None
    has_all_images: bool = True
    began: datetime | None = None
    now: datetime | None = None

    @property
    def is_complete(self) -> bool:
        """Whether every command listed everything: then what is missing counts as missing."""
        parts = (self.members, self.interfaces, self.gateways, self.machines, self.images)
        return self.has_all_images and all(part is not None for part in parts)


class Known(NamedTuple):
    """What the mirror has: clusters and nodes by their name in Rocks, those that are gone, too."""

    clusters: Mapping[str, KnownCluster]
    nodes: Mapping[str, KnownNode]


def compare(known: Known, listed: Listed) -> Changes:
    """The rows to add and to change, and the events of it."""
    changes = Changes([], [], {}, {}, {}, [], set())
    if (
        listed.machines is None
    ):  # without UUIDs a renamed frontend, and one with the name of another, are unknown
        listed = listed._replace(members=None)
    frontends: dict[str, str] = {}
    replaced = _replaced(known, listed)
    later = {*replaced, *_unfollowed(known, listed)}
    if listed.members is not None:
        frontends = {member.name: member.frontend for member in listed.members}
        _compare_clusters(known, listed, frontends, changes, later)
    places = frontends or {name: node.cluster for name, node in known.nodes.items() if not node.is_gone}
    new_names = {machine.uuid: name for name, machine in (listed.machines or {}).items() if machine.uuid}
    for name, former in replaced.items():
        # it was renamed after the members were listed, which the next poll follows; or it has left its cluster as well,
        # and the owner must not have the other machine
        is_counted = listed.members is not None and new_names.get(former) not in frontends
        if former not in new_names or (is_counted and known.nodes[name].missing_polls):
            _end(known, name, changes)
        elif is_counted:
            changes.nodes[name] = {"missing_polls": 1}
    macs: set[str] = set()
    for name, frontend in places.items():
        # the next poll enters them
        if name in later or frontend in later or _is_half_listed(known, listed, frontend):
            continue
        _compare_node(known, listed, name, frontend, changes, macs)
    if listed.members is not None and listed.is_complete:
        _count_missing(known, frontends, new_names, changes)
    return changes


def renamed(known: Known, listed: Listed) -> dict[str, str]:
    """Name in Rocks → the new one, of machines that the site has renamed: the UUID is the same; pure."""
    if listed.machines is None:
        return {}
    # machines come by themselves between complete polls
    members = {*listed.machines} if listed.members is None else {member.name for member in listed.members}
    listed_uuids = {name: machine.uuid for name, machine in listed.machines.items() if name in members}
    names = {uuid: name for name, uuid in listed_uuids.items() if uuid}
    known_uuids = {
        name: node.values.uuid for name, node in known.nodes.items() if not node.is_gone and node.values
    }
    found = {
        name: names[uuid]
        for name, uuid in known_uuids.items()
        # a name that the lists still have is another machine's now, or was listed before
        if uuid in names and names[uuid].lower() != name.lower() and listed_uuids.get(name, "") != uuid
        if name not in members or name in listed_uuids
    }
    return _without_held(found, known_uuids, {machine.uuid for machine in listed.machines.values()})


def _without_held(
    names: Mapping[str, str], known_uuids: Mapping[str, str | None], listed: Collection[str | None]
) -> dict[str, str]:
    """The renames without those to the name of a machine that is there, and whose own new name is not known yet.

    With its name it would lose its owner; and so would one whose rename waits for another.
    """
    found = dict(names)
    holders = (
        {name.lower(): uuid for name, uuid in known_uuids.items() if uuid and uuid in listed} if found else {}
    )
    while True:
        leaving = {name.lower() for name in found}
        held = [name for name, new in found.items() if new.lower() in holders.keys() - leaving]
        if not held:
            return found
        for name in held:
            del found[name]


def _replaced(known: Known, listed: Listed) -> dict[str, str]:
    """Name → former UUID, where another machine has the name now."""
    return {
        name: node.values.uuid
        for name, machine in (listed.machines or {}).items()
        if (node := known.nodes.get(name)) is not None and not node.is_gone and node.values
        and machine.uuid and node.values.uuid and node.values.uuid != machine.uuid
    }  # fmt: skip


def _unfollowed(known: Known, listed: Listed) -> list[str]:
    """New names of known machines whose former names one list alone has, another machine's: the next poll follows them.

    Entered as other machines, with their clusters, they would have no owner, and computes would lose their names.
    """
    machines = listed.machines or {}
    former = {
        node.values.uuid for name, node in known.nodes.items()
        if not node.is_gone and node.values and node.values.uuid
        and (name not in machines or machines[name].uuid != node.values.uuid)
    }  # fmt: skip
    return [
        name
        for name, machine in machines.items()
        if machine.uuid in former and (name not in known.nodes or known.nodes[name].is_gone)
    ]


def _is_half_listed(known: Known, listed: Listed, frontend: str) -> bool:
    """Whether it was added, or got its name, after one of two commands: then its UUID is not known yet."""
    if listed.members is None or listed.machines is None or frontend in listed.machines:
        return False
    return frontend not in known.nodes or known.nodes[frontend].is_gone


def _end(known: Known, name: str, changes: Changes) -> None:
    """The machine is gone at once; with a frontend its cluster, whose owner must not have the next one of the name."""
    gone = {"missing_polls": POLLS_UNTIL_GONE, "is_gone": True}
    changes.nodes[name] = gone
    changes.touched.add(known.nodes[name].cluster)
    if name in known.clusters and not known.clusters[name].is_gone:
        changes.clusters[name] = gone


def hosts_of(known: Known, listed: Listed) -> set[str] | None:
    """Those of the listed hosts that are no virtual machines, also not of those that the next poll enters; pure.

    None where not both were listed.
    """
    if listed.interfaces is None or listed.members is None:
        return None
    machines = {name for name, node in known.nodes.items() if not node.is_gone}
    added = {member.name for member in listed.members}.union(listed.machines or ())
    return {*listed.interfaces} - machines - added


def without_images(known: Known, listed: Listed) -> set[str]:
    """Names in Rocks of the clusters with an image that was not listed, because its NAS did not answer; pure."""
    if listed.images is None or listed.has_all_images:
        return set()
    return {
        node.cluster
        for name, node in known.nodes.items()
        if not node.is_gone and node.values and node.values.image_state and name not in listed.images
    }


def _compare_clusters(
    known: Known, listed: Listed, frontends: Mapping[str, str], changes: Changes, later: Collection[str]
) -> None:
    for frontend in dict.fromkeys(frontends.values()):
        if frontend in later or _is_half_listed(known, listed, frontend):
            continue
        cluster, node = known.clusters.get(frontend), known.nodes.get(frontend)
        if node is not None and node.is_gone and _is_outdated(node, listed):
            continue  # it was removed after it was listed
        vlan = _vlan(listed, frontend, cluster.vlan if cluster else None)
        if cluster is None or (cluster.is_gone and not _has_returned(node, listed)):
            changes.new_clusters.append((frontend, vlan))
        elif cluster.is_gone:
            changes.clusters[frontend] = {"vlan": vlan, "missing_polls": 0, "has_returned": True}
            changes.touched.add(frontend)
        elif (cluster.vlan, cluster.missing_polls) != (vlan, 0):
            changes.clusters[frontend] = {"vlan": vlan, "missing_polls": 0}
            changes.touched.add(frontend)


def _has_returned(frontend: KnownNode | None, listed: Listed) -> bool:
    """Whether it is the machine of the cluster that is gone, as after a dump was loaded: it is its owner's again."""
    if frontend is None or frontend.values is None or not frontend.values.uuid:
        return False
    machine = (listed.machines or {}).get(frontend.cluster)
    return machine is not None and machine.uuid == frontend.values.uuid


def _vlan(listed: Listed, frontend: str, before: int | None) -> int | None:
    if listed.interfaces is None:
        return before
    private = (one.vlan for one in listed.interfaces.get(frontend, ()) if one.subnet == "private")
    return next(private, None)


def _compare_node(
    known: Known, listed: Listed, name: str, frontend: str, changes: Changes, macs: set[str]
) -> None:
    node = known.nodes.get(name)
    if node is not None and node.is_gone and _is_outdated(node, listed):
        return  # it was removed after it was listed
    before = node.values if node is not None and not node.is_gone else None
    after = _listed_values(listed, name, frontend, before, node)
    interfaces = _own_interfaces(listed, name, macs)
    if before is None or node is None:
        changes.new_nodes.append((name, frontend, after, interfaces or ()))
        changes.touched.add(frontend)
        return
    changed: dict[str, Any] = {}
    if before != after:
        changed = {
            column: new
            for column, old, new in zip(NodeValues._fields, before, after, strict=True)
            if old != new
        }
        changes.events.extend(_events(known, node, changed))
    if listed.members is not None:
        if frontend != node.cluster:
            changed["cluster"] = frontend
            changes.touched.add(node.cluster)
        if node.missing_polls:
            changed["missing_polls"] = 0
    if changed:
        changes.nodes[name] = changed
        changes.touched.add(frontend)
    if interfaces is not None and interfaces != node.interfaces:
        changes.interfaces[name] = interfaces
        changes.touched.add(frontend)


def _own_interfaces(listed: Listed, name: str, macs: set[str]) -> tuple[Interface, ...] | None:
    """The interfaces without those whose MAC another machine, or an earlier one of this, has; None: not listed."""
    if listed.interfaces is None:
        return None
    own, devices = [], set()
    for one in listed.interfaces.get(name, ()):
        mac = one.mac.lower()
        if mac not in macs and one.iface not in devices:
            macs.add(mac)
            devices.add(one.iface)
            own.append(one)
    return tuple(own)


def _listed_values(
    listed: Listed, name: str, frontend: str, before: NodeValues | None, node: KnownNode | None
) -> NodeValues:
    """The columns as listed; what was not listed, or before the newest command of the node, stays."""
    values = before or NodeValues("frontend" if name == frontend else "compute")
    kind = "frontend" if name == frontend else "compute"
    if values.kind != kind:
        values = values._replace(kind=kind)
    machine = listed.machines.get(name) if listed.machines is not None else None
    if machine is not None:
        host, cpus, memory_mb, disk_gb, state, iso, uuid = machine
        if _is_outdated(node, listed):
            host, state, iso = values.physical_host, values.state, values.iso
        values = values._replace(
            physical_host=host, cpus=cpus, memory_mb=memory_mb, disk_gb=disk_gb, state=state, iso=iso,
            uuid=uuid or values.uuid,
        )  # fmt: skip
    if listed.images is not None and not _is_outdated(node, listed):
        image = listed.images.get(name)
        if image is not None:
            if (values.image_state, values.image_locked) != image:
                values = values._replace(image_state=image.state, image_locked=image.locked)
        elif listed.has_all_images and values.image_state is not None:
            values = values._replace(image_state=None, image_locked=None)
    if listed.gateways is not None and values.gateway != listed.gateways.get(name):
        values = values._replace(gateway=listed.gateways.get(name))
    return values


def _is_outdated(node: KnownNode | None, listed: Listed) -> bool:
    """Whether a command of the node began or ended after it was listed; one of the future does not count."""
    if node is None or node.last_command_at is None or listed.began is None:
        return False
    # a clock that was set back: the command would hold every poll off until the clock has caught up
    return listed.began <= node.last_command_at and (listed.now is None or node.last_command_at <= listed.now)


def _events(known: Known, node: KnownNode, changed: Mapping[str, Any]) -> list[NewEvent]:
    cluster = known.clusters.get(node.cluster)
    if cluster is None or node.values is None:
        return []
    found = []
    for column, kind in (("state", "node.power"), ("image_state", "node.image")):
        if column in changed:
            old = getattr(node.values, column)
            target = f"{cluster.name}/{node.name}"
            found.append(NewEvent(kind, target, old, changed[column], cluster.project_id, cluster.id))
    return found


def _count_missing(
    known: Known, frontends: Mapping[str, str], new_names: Mapping[str, str], changes: Changes
) -> None:
    def counted(name: str, missing_polls: int) -> dict[str, Any]:
        node = known.nodes.get(name)
        uuid = node.values.uuid if node is not None and node.values else None
        is_renamed = new_names.get(uuid or "", name) != name
        limit = POLLS_UNTIL_FOLLOWED if is_renamed else POLLS_UNTIL_GONE
        return {"missing_polls": missing_polls + 1, "is_gone": missing_polls + 1 >= limit}

    for name, node in known.nodes.items():
        if name not in frontends and not node.is_gone and name not in changes.nodes:
            changes.nodes[name] = counted(name, node.missing_polls)
            if changes.nodes[name]["is_gone"]:
                changes.touched.add(node.cluster)
    names = set(frontends.values())
    for name, cluster in known.clusters.items():
        if name not in names and not cluster.is_gone and name not in changes.clusters:
            changes.clusters[name] = counted(name, cluster.missing_polls)
