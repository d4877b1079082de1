"""Records as the JSON of the interface: `models` and those of the parts alone state what an answer has.

Fields of a record with the same name are copied, and only those that differ are given here; a field that
neither has fails in every test that asks for it. Answers that are checked by the models themselves were
refused: that costs time for each node.
"""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from nucleus.api import models
from nucleus.limits import STALE_INTERVALS
from nucleus.operations.causes import error_for
from nucleus.states import disk_state, power_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

    from nucleus.configuration import PollSettings
    from nucleus.records import Cluster, Interface, Node, Operation

Json = dict[str, Any]


def text_of(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC, with milliseconds."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


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
    """Sources that have never answered make a cluster stale; a site without a NAS answers that it has no images.

    A cluster that is gone is not stale: the site has answered that it is gone.
    """
    known = (
        (cluster.observed_topology, settings.topology_seconds),
        (cluster.observed_power, settings.power_seconds),
        (cluster.observed_image, settings.power_seconds),
    )
    moments = [moment for moment, _ in known if moment is not None]
    is_stale = cluster.gone_at is None and any(
        moment is None or (now - moment).total_seconds() > STALE_INTERVALS * interval
        for moment, interval in known
    )
    oldest = min(moments, default=None)
    return Freshness(oldest, is_stale, 0 if oldest is None else max(0, int((now - oldest).total_seconds())))


def shaped(shape: type[BaseModel], record: Any, **computed: Any) -> Json:
    """The fields of a shape of `models`: those that are not computed are the record's of the same name."""
    return {
        name: computed[name] if name in computed else _value(getattr(record, name)) for name in _names(shape)
    }


@functools.cache
def _names(shape: type[BaseModel]) -> tuple[str, ...]:
    return tuple(shape.model_fields)


def _value(value: Any) -> Any:
    return text_of(value) if isinstance(value, datetime) else value


def frontend_json(node: Node, interfaces: Sequence[Interface], freshness: Json) -> Json:
    """`models.Frontend`. The public interface is the first whose network is not `private`. `freshness`: its fields."""
    public = next((one for one in interfaces if one.subnet != "private"), None)
    return _node(
        models.Frontend, node, interfaces, freshness,
        pub_ip=public and public.ip,
        pub_mac=public and public.mac,
        pub_netmask=public and public.netmask,
        frontend_state=disk_state(node.image_state, node.image_locked),
    )  # fmt: skip


def compute_json(node: Node, cluster: str, interfaces: Sequence[Interface], freshness: Json) -> Json:
    """`models.Compute`."""
    return _node(
        models.Compute, node, interfaces, freshness,
        cluster=cluster,
        active_computeset=node.computeset,
        active_computeset_state=node.set_state,
        compute_state=disk_state(node.image_state, node.image_locked),
    )  # fmt: skip


def _node(
    shape: type[BaseModel], node: Node, interfaces: Sequence[Interface], freshness: Json, **computed: Any
) -> Json:
    """The private interface first: scripts of owners take the first."""
    power = power_of(node.state, has_host=node.physical_host is not None)
    return shaped(
        shape,
        node,
        memory=node.memory_mb,
        disksize=node.disk_gb,
        interface=[{"mac": one.mac, "iface": one.iface, "ip": one.ip} for one in interfaces],
        power=power,
        power_since=text_of(_power_since(node, power)),
        host_state=_host_state(node, power),
        iso=_owners_iso(node.iso),
        iso_active=_owners_iso(node.iso_active),
        **freshness,
        **computed,
    )


def _power_since(node: Node, power: str) -> datetime | None:
    if power == "unknown":
        return node.unknown_since
    return node.power_since if power == node.last_power else None


_HOST_STATES = {
    "unknown": "Its host does not answer, or the node is being moved. Ask your operators if this lasts.",
    "crashed": "The machine has crashed; its host answers. Power it on again.",
    "on": "Its host answers.",
    "paused": "Its host answers.",
}


def _host_state(node: Node, power: str) -> str:
    """The state of its host, in words for owners: which host it is does not concern them."""
    if node.admin_disabled:
        return "An operator has disabled this node; ask your operators."
    if power != "off":
        return _HOST_STATES[power]
    if node.set_state in ("created", "submitted"):
        return "It has no host yet: it gets one when its computeset starts."
    if node.set_id is not None:
        return "Its host is kept until the computeset ends."
    is_placed = node.kind == "frontend"
    return (
        "It starts on the host that it has." if is_placed else "It has no host: it gets one when it starts."
    )


def _owners_iso(text: str | None) -> str | None:
    """The image in a drive. Of a file that an operator has put there by its path, only the name."""
    return text.rpartition("/")[2] if text is not None and text.startswith("/") else text


def cluster_json(
    cluster: Cluster,
    nodes: Sequence[Node],
    of: Mapping[int, Sequence[Interface]],
    allocations: list[str],
    freshness: Json,
) -> Json:
    """`models.Cluster`, of its nodes, the frontend first, and the interfaces of each."""
    frontend = next((node for node in nodes if node.kind == "frontend"), None)
    return shaped(
        models.Cluster,
        cluster,
        allocations=allocations,
        frontend=None if frontend is None else frontend_json(frontend, of.get(frontend.id, ()), freshness),
        computes=[
            compute_json(node, cluster.name, of.get(node.id, ()), freshness)
            for node in nodes
            if node.kind != "frontend"
        ],
        **freshness,
    )


def operation_json(one: Operation, cluster: str | None, node: str | None, is_operator: bool = False) -> Json:
    """An operation. What went wrong is in `error`: {code, detail}, in words for owners or for operators."""
    known = {"cluster": cluster, "node": node, "computeset": one.target_set}
    image = one.arguments.get("iso") or one.arguments.get("reference")
    return shaped(models.Operation, one, **known, image=image, error=error_for(one.error, is_operator))
