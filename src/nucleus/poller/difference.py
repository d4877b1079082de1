"""What a poll changes in the mirror, from what is known and what was listed; pure."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from nucleus.mirror.observations import Changes, KnownCluster, KnownNode, NewNode, NodeValues
from nucleus.records import NewEvent
from nucleus.states import power_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nucleus.backends.rocks_output import Image, Machine, Member
    from nucleus.records import Interface

POLLS_UNTIL_GONE = 2
"""A machine that so many complete polls did not list is gone."""

_STAY_IF_OUTDATED = ("uuid", "physical_host", "state", "iso")
"""Columns that a listing from before a command of the node does not change: what such commands change, and the UUID,
which a node has as long as it lives."""


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
    """What the mirror has: clusters and nodes by their numbers, those that are gone, too."""

    clusters: Mapping[int, KnownCluster]
    nodes: Mapping[int, KnownNode]


def compare(known: Known, listed: Listed) -> Changes:
    """The rows to add and to change, and the events of it."""
    return _Comparison(known, listed).changes


def hosts_of(known: Known, listed: Listed) -> set[str] | None:
    """The listed hosts that are no virtual machines; None where not both were listed; pure."""
    if listed.interfaces is None or listed.members is None:
        return None
    machines = {node.rocks_name for node in known.nodes.values() if not node.is_gone}
    added = {member.name for member in listed.members}.union(listed.machines or ())
    return {*listed.interfaces} - machines - added


def without_images(known: Known, listed: Listed) -> set[int]:
    """Clusters with an image that was not listed, because its NAS did not answer; pure."""
    if listed.images is None or listed.has_all_images:
        return set()
    return {
        node.cluster
        for node in known.nodes.values()
        if not node.is_gone and node.values.image_state and node.rocks_name not in listed.images
    }


class _Comparison:
    """A machine is the one with its UUID, whatever its name; `rocks` lists both with the clusters, as of one moment.

    The published `rocks` lists no UUIDs: there, and where the mirror has none yet, a machine is the one with its name.
    """

    def __init__(self, known: Known, listed: Listed) -> None:
        self.changes = Changes({}, [], {}, {}, {}, [], set())
        self._known, self._listed = known, listed
        self._macs = set[str]()
        machines = (listed.machines or {}).items()
        self._names = {machine.uuid: name for name, machine in machines if machine.uuid}
        if listed.members is not None:
            self._compare_members(listed.members)
            return
        for number, node in known.nodes.items():
            if not node.is_gone:
                name, machine = self._machine(node.values.uuid, node.rocks_name)
                if node.values.kind == "frontend":
                    self._cluster(number, name)
                self._compare_node(number, name, machine, node.values, node.cluster)

    def _compare_members(self, listed: list[Member]) -> None:
        # a machine on the VLANs of several clusters is of the last, but a frontend is of its own
        members = {one.name: one for one in listed}
        members |= {one.name: one for one in listed if one.name == one.frontend}
        numbers = self._numbers(members)
        clusters = {
            name: self._cluster(numbers[name], name)
            for name, member in members.items()
            if name == member.frontend and not self._was_removed(numbers[name])
        }
        for name, member in members.items():
            number = numbers[name]
            cluster = clusters.get(member.frontend)
            if cluster is None or self._was_removed(number):
                continue
            before = NodeValues("") if number is None else self._known.nodes[number].values
            kind, uuid = "frontend" if name == member.frontend else "compute", before.uuid or member.uuid
            if (before.kind, before.uuid) != (kind, uuid):
                before = before._replace(kind=kind, uuid=uuid)
            _, machine = self._machine(uuid, name)
            if number is not None:
                self._compare_node(number, name, machine, before, cluster)
                continue
            values = self._values(name, machine, before, is_outdated=False)
            self.changes.new_nodes.append(NewNode(cluster, name, values, self._interfaces(name) or ()))
            self._touch(cluster)
        self._end_missing({*numbers.values()}, {name.lower() for name in members})
        self._end_clusters({*clusters.values()})

    def _numbers(self, members: Mapping[str, Member]) -> dict[str, int | None]:
        """Name of each listed machine → its node; None: it is new."""
        nodes, clusters = self._known.nodes, self._known.clusters
        by_uuid = {node.values.uuid: number for number, node in nodes.items() if node.values.uuid}
        # of several that had a name, the one that is there, or else the last that was
        by_name = {node.rocks_name.lower(): number for number, node in nodes.items() if node.is_gone}
        by_name |= {node.rocks_name.lower(): number for number, node in nodes.items() if not node.is_gone}
        found = dict[str, int | None]()
        for name, member in members.items():
            number = by_uuid.get(member.uuid) if member.uuid else None
            if number is None and (number := by_name.get(name.lower())) is not None:
                node = nodes[number]
                is_other = member.uuid is not None and node.values.uuid is not None
                # of a cluster that is gone, nobody knows whether it is that one
                is_lost = clusters[node.cluster].is_gone and not self._was_removed(number)
                number = None if is_other or (node.is_gone and is_lost) else number
            found[name] = number
        return found

    def _was_removed(self, number: int | None) -> bool:
        """Whether a command removed the node after it was listed."""
        node = None if number is None else self._known.nodes[number]
        return node is not None and node.is_gone and self._is_outdated(node)

    def _cluster(self, frontend: int | None, name: str) -> int | str:
        """The cluster of a listed frontend: its number, or the frontend's name where it is new."""
        node = None if frontend is None else self._known.nodes[frontend]
        if node is None or node.values.kind != "frontend":
            self.changes.new_clusters[name] = self._vlan(name, None)
            return name
        before = self._known.clusters[node.cluster]
        after = before._replace(rocks_name=name, vlan=self._vlan(name, before.vlan), is_gone=False)
        if after != before:
            self.changes.clusters[node.cluster] = _changed(before, after)
            self._touch(node.cluster)
        return node.cluster

    def _vlan(self, frontend: str, before: int | None) -> int | None:
        if self._listed.interfaces is None:
            return before
        private = (one.vlan for one in self._listed.interfaces.get(frontend, ()) if one.subnet == "private")
        return next(private, None)

    def _machine(self, uuid: str | None, name: str) -> tuple[str, Machine | None]:
        """(name, machine) of the listed machine with the UUID, or with the name where none is known of one of both.

        None for a machine that is not listed, or is another one of that name.
        """
        name = self._names.get(uuid, name) if uuid else name
        machine = (self._listed.machines or {}).get(name)
        is_other = machine is not None and None not in (machine.uuid, uuid) and machine.uuid != uuid
        return name, None if is_other else machine

    def _compare_node(
        self, number: int, name: str, machine: Machine | None, before: NodeValues, cluster: int | str
    ) -> None:
        """`before`: its values as known, with kind and UUID as listed."""
        node = self._known.nodes[number]
        after = self._values(name, machine, before, is_outdated=self._is_outdated(node))
        changed = _changed(node.values, after) if node.values != after else {}
        if "last_power" in changed and node.values.last_power is not None:
            changed["is_switched"] = True  # else it may have had that power for long
        if _power_of(after) == "unknown" != _power_of(node.values):
            changed["is_unseen"] = True
        if node.is_gone:
            changed["is_gone"] = False
        elif changed:
            self.changes.events.extend(self._events(node, changed))
        if name != node.rocks_name:
            changed["rocks_name"] = name
        if cluster != node.cluster:
            changed["cluster"] = cluster
            if node.is_gone:
                self._touch(node.cluster)
            else:
                self._leave(node)
        if node.missing_polls and self._listed.members is not None:
            changed["missing_polls"] = 0
        if changed:
            self.changes.nodes[number] = changed
            self._touch(cluster)
        interfaces = self._interfaces(name)
        if interfaces is not None and interfaces != node.interfaces:
            self.changes.interfaces[number] = interfaces
            self._touch(cluster)

    def _values(
        self, name: str, machine: Machine | None, values: NodeValues, is_outdated: bool
    ) -> NodeValues:
        """The columns as listed; what was not listed, or before the newest command of the node, stays."""
        listed = self._listed
        if machine is not None:
            unchanged = _STAY_IF_OUTDATED if is_outdated else ("uuid",)
            seen = {column: value for column, value in machine._asdict().items() if column not in unchanged}
            values = values._replace(**seen)
        if listed.images is not None and not is_outdated:
            image = listed.images.get(name)
            if image is not None:
                if (values.image_state, values.image_locked) != image:
                    values = values._replace(image_state=image.state, image_locked=image.locked)
            elif listed.has_all_images and values.image_state is not None:
                values = values._replace(image_state=None, image_locked=None)
        if listed.gateways is not None and values.gateway != listed.gateways.get(name):
            values = values._replace(gateway=listed.gateways.get(name))
        power = _power_of(values)
        return values if power in ("unknown", values.last_power) else values._replace(last_power=power)

    def _interfaces(self, name: str) -> tuple[Interface, ...] | None:
        """The interfaces without those whose MAC another machine, or an earlier one of this, has; None: not listed."""
        if self._listed.interfaces is None:
            return None
        own, devices = [], set()
        for one in self._listed.interfaces.get(name, ()):
            mac = one.mac.lower()
            if mac not in self._macs and one.iface not in devices:
                self._macs.add(mac)
                devices.add(one.iface)
                own.append(one)
        return tuple(own)

    def _is_outdated(self, node: KnownNode) -> bool:
        """Whether a command of the node began or ended after it was listed; one of the future does not count."""
        began, now = self._listed.began, self._listed.now
        if node.last_command_at is None or began is None:
            return False
        # a clock that was set back: the command would hold every poll off until the clock has caught up
        return began <= node.last_command_at and (now is None or node.last_command_at <= now)

    def _events(self, node: KnownNode, changed: Mapping[str, Any]) -> Iterator[NewEvent]:
        cluster = self._known.clusters[node.cluster]
        for column, kind in (("state", "node.power"), ("image_state", "node.image")):
            if column in changed:
                old, target = getattr(node.values, column), f"{cluster.name}/{node.name}"
                yield NewEvent(kind, target, old, changed[column], cluster.project_id, node.cluster)

    def _leave(self, node: KnownNode) -> None:
        """Note that the node is not in its cluster any more."""
        cluster = self._known.clusters[node.cluster]
        target = f"{cluster.name}/{node.name}"
        self.changes.events.append(
            NewEvent("node.removed", target, None, None, cluster.project_id, node.cluster)
        )
        self._touch(node.cluster)

    def _touch(self, cluster: int | str) -> None:
        """Note that readers of the cluster get another answer."""
        if isinstance(cluster, int):  # a new one has no readers
            self.changes.touched.add(cluster)

    def _end_missing(self, listed: set[int | None], names: set[str]) -> None:
        """Count missing machines. One whose name another has is gone at once: its owner must not see the other."""
        for number, node in self._known.nodes.items():
            is_replaced = node.rocks_name.lower() in names
            if not node.is_gone and number not in listed and (is_replaced or self._listed.is_complete):
                missing = POLLS_UNTIL_GONE if is_replaced else node.missing_polls + 1
                self.changes.nodes[number] = {"missing_polls": missing}
                if missing >= POLLS_UNTIL_GONE:
                    self.changes.nodes[number]["is_gone"] = True
                    self._leave(node)

    def _end_clusters(self, listed: set[int | str]) -> None:
        """A cluster is gone with its frontend."""
        missing = {
            node.cluster
            for number, node in self._known.nodes.items()
            if node.values.kind == "frontend" and not node.is_gone
            if not self.changes.nodes.get(number, {}).keys() & {"is_gone", "cluster"}
        }
        for number, cluster in self._known.clusters.items():
            if not cluster.is_gone and number not in listed and number not in missing:
                self.changes.clusters[number] = {"is_gone": True}
                self._touch(number)


def _power_of(values: NodeValues) -> str:
    return power_of(values.state, has_host=values.physical_host is not None)


def _changed(before: NamedTuple, after: NamedTuple) -> dict[str, Any]:
    """Field → its new value, of those that differ."""
    return {name: new for name, old, new in zip(before._fields, before, after, strict=True) if old != new}
