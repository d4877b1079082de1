"""Records as the JSON of the interface: field names and kinds of the published service, and what we add to them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from nucleus.states import RUNNING, disk_state, power_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nucleus.configuration import PollSettings
    from nucleus.mirror.identity import Token, User
    from nucleus.records import Cluster, Computeset, Interface, Node, Operation

Json = dict[str, Any]

STALE_INTERVALS = 3
"""After so many intervals without an answer, what the mirror has is called stale."""


def text_of(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC, with milliseconds."""
    return (
        None
        if moment is None
        else moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


class Freshness(NamedTuple):
    """How old the answer of a cluster is: that of the oldest source that it comes from."""

    observed_at: datetime | None
    is_stale: bool
    age_seconds: int

    @property
    def fields(self) -> Json:
        """As each representation has it."""
        return {"observed_at": text_of(self.observed_at), "stale": self.is_stale}


def freshness_of(cluster: Cluster, settings: PollSettings, now: datetime) -> Freshness:
    """Sources that have never answered make a cluster stale; a site without a NAS has none for images."""
    known = {
        cluster.observed_topology: settings.topology_seconds,
        cluster.observed_power: settings.power_seconds,
        cluster.observed_image: settings.power_seconds,
    }
    moments = [moment for moment in known if moment is not None]
    is_stale = cluster.observed_power is None or any(
        (now - moment).total_seconds() > STALE_INTERVALS * interval
        for moment, interval in known.items()
        if moment is not None
    )
    oldest = min(moments, default=None)
    return Freshness(oldest, is_stale, 0 if oldest is None else max(0, int((now - oldest).total_seconds())))


def frontend_json(node: Node, interfaces: Sequence[Interface], freshness: Freshness) -> Json:
    """Frontend of §3.1. The public interface is the first whose network is not `private`."""
    public = next((one for one in interfaces if one.subnet != "private"), None)
    return {
        "name": node.name,
        "state": node.state,
        "memory": node.memory_mb,
        "cpus": node.cpus,
        "disksize": node.disk_gb,
        "type": node.type,
        "interface": _interfaces(interfaces),
        "pub_ip": public.ip if public else None,
        "pub_mac": public.mac if public else None,
        "pub_netmask": public.netmask if public else None,
        "gateway": node.gateway,
        "dns1": node.dns1,
        "dns2": node.dns2,
        "ntp": node.ntp,
        "frontend_state": disk_state(node.image_state, node.image_locked),
        **_added(node, freshness),
    }


def compute_json(node: Node, cluster: str, interfaces: Sequence[Interface], freshness: Freshness) -> Json:
    """Compute of §3.1."""
    return {
        "name": node.name,
        "interface": _interfaces(interfaces),
        "memory": node.memory_mb,
        "cpus": node.cpus,
        "disksize": node.disk_gb,
        "cluster": cluster,
        "type": node.type,
        "state": node.state,
        "active_computeset": node.set_id,
        "active_computeset_state": node.set_state,
        "compute_state": disk_state(node.image_state, node.image_locked),
        **_added(node, freshness),
    }


def _interfaces(interfaces: Sequence[Interface]) -> list[Json]:
    """The private one first: scripts of owners take the first."""
    return [{"mac": one.mac, "iface": one.iface} for one in interfaces]


def _added(node: Node, freshness: Freshness) -> Json:
    return {
        "power": power_of(node.state),
        "image_state": node.image_state,
        "admin_disabled": node.admin_disabled,
        "iso": node.iso,
        "iso_active": node.iso_active,
        **freshness.fields,
    }


class ClusterParts(NamedTuple):
    """What a cluster's representation is made of; `nodes` has the frontend first."""

    cluster: Cluster
    nodes: Sequence[Node]
    interfaces: Mapping[int, Sequence[Interface]]
    allocations: Sequence[str]


def cluster_json(parts: ClusterParts, freshness: Freshness) -> Json:
    """Cluster of §3.1."""
    cluster, of = parts.cluster, parts.interfaces
    frontend = next((node for node in parts.nodes if node.kind == "frontend"), None)
    return {
        "name": cluster.name,
        "description": cluster.description,
        "project": cluster.project,
        "vlan": cluster.vlan,
        "allocations": list(parts.allocations),
        "frontend": None if frontend is None else frontend_json(frontend, of.get(frontend.id, ()), freshness),
        "computes": [
            compute_json(node, cluster.name, of.get(node.id, ()), freshness)
            for node in parts.nodes
            if node.kind != "frontend"
        ],
        "generation": cluster.generation,
        **freshness.fields,
    }


def computeset_json(one: Computeset, cluster: str, computes: Sequence[Json], is_operator: bool) -> Json:
    """Computeset of §3.1; operators get the fields of the workers, too."""
    content: Json = {
        "id": one.id,
        "state": one.state,
        "cluster": cluster,
        "account": one.account,
        "walltime_mins": one.walltime_minutes,
        "start_time": None if one.start_time is None else int(one.start_time.timestamp()),
        "reservation": one.reservation,
        "computes": list(computes),
        "created": text_of(one.created),
        "ended_at": text_of(one.ended_at),
        "end_reason": one.end_reason,
        "degraded": one.degraded,
        "requested_by": one.requested_by,
        "nodes_ready": sum(compute["power"] == "on" for compute in computes) if one.state == RUNNING else 0,
        "nodes_total": one.node_count,
    }
    if is_operator:
        content |= {
            "user": one.user,
            "jobid": one.jobid,
            "name": one.name,
            "nodelist": one.nodelist,
            "node_count": one.node_count,
        }
    return content


def operation_json(one: Operation, cluster: str | None, node: str | None) -> Json:
    """An operation. What went wrong is in `error`: {code, detail}."""
    return {
        "id": one.id,
        "kind": one.kind,
        "state": one.state,
        "cluster": cluster,
        "node": node,
        "computeset": one.target_set,
        "actor": one.actor,
        "progress": one.progress,
        "result": one.result,
        "error": one.error,
        "created": text_of(one.created),
        "started": text_of(one.started),
        "ended": text_of(one.ended),
    }


def user_json(user: User) -> Json:
    """User of §3.1, the published four fields and what we add."""
    return {
        "username": user.username,
        "email": user.email,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "is_operator": user.is_operator,
        "projects": sorted(user.projects.values()),
        "acknowledged_at": text_of(user.acknowledged_at),
    }


def token_json(token: Token, projects: Mapping[int, str]) -> Json:
    """A token without its secret."""
    return {
        "id": token.id,
        "scopes": list(token.scopes),
        "projects": None
        if token.projects is None
        else [projects[one] for one in token.projects if one in projects],
        "note": token.note,
        "created": text_of(token.created),
        "expires": text_of(token.expires),
        "last_used": text_of(token.last_used),
        "revoked_at": text_of(token.revoked_at),
    }
