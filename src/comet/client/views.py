"""Rows of tables from records: the mash-ups of `comet ll` and `comet cluster`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from comet.client.errors import UsageError
from comet.client.hostlists import collect_hostlist
from comet.client.records import ClusterRecord, Computeset, Interface, Node


def row(record: Any, keys: str, **computed: Any) -> dict[str, Any]:
    """A record's fields under these keys, in this order; those that are computed replace or complete them."""
    return {it: computed[it] if it in computed else getattr(record, it, None) for it in keys.split()}


def summary(cluster: ClusterRecord) -> dict[str, Any]:
    """A cluster in one row."""
    return row(
        cluster,
        "name project count nodes frontend state type allocations description",
        count=len(cluster.computes),
        nodes=collect_hostlist(it.name for it in cluster.computes),
        frontend=cluster.frontend and cluster.frontend.name,
        state=cluster.frontend and cluster.frontend.state,
        type=cluster.frontend and cluster.frontend.type,
        allocations=", ".join(cluster.allocations),
    )


NODE_KEYS = (
    "name state kind type mac ip cpus cluster memory disksize active_computeset allocation admin_state "
    "active_computeset_state image_state power host stale"
)
"""The first thirteen are the interface's, in its order: scripts cut columns out of CSV."""
_VIEWS = {
    "full": tuple(NODE_KEYS.split()),
    "concise": ("name", "state", "active_computeset", "allocation", "admin_state", "mac", "ip", "cluster"),
    "status": ("name", "state", "active_computeset", "allocation", "admin_state"),
}
"""What each view of a cluster has of a node."""


def node_rows(cluster: ClusterRecord, sets: Sequence[Computeset]) -> list[dict[str, Any]]:
    """A row for each node, the frontend first; its allocation is that of its set. Keys are stable for scripts."""
    accounts = {it.id: it.account for it in sets}
    return sorted(
        [node_row(it, accounts.get(it.computeset or 0)) for it in cluster.nodes()], key=_usual_order
    )


def part_of_rows(rows: Sequence[dict[str, Any]], view: str) -> list[dict[str, Any]]:
    """What a view has of the rows. UsageError for one that is not known."""
    if view not in _VIEWS:
        raise UsageError(f"there is no view {view!r}: choose one of {', '.join(_VIEWS)}")
    return [{key: row[key] for key in _VIEWS[view]} for row in rows]


def _usual_order(one: Mapping[str, Any]) -> tuple[bool, bool, str]:
    """The frontend, then computes by their MAC addresses: so they stay where they are when they are renamed."""
    return one["kind"] != "frontend", not one["mac"], next(iter(one["mac"]), "").casefold()


def node_row(node: Node, allocation: Any) -> dict[str, Any]:
    """A node in one row: `mac` is a list, the public one first."""
    return row(
        node,
        NODE_KEYS,
        mac=macs(node),
        ip=node.pub_ip or ";".join(it.ip for it in node.interfaces if it.ip) or None,
        active_computeset=node.computeset,
        active_computeset_state=node.computeset_state,
        allocation=allocation,
        admin_state=node.disk_state,
    )


def macs(node: Node) -> list[str]:
    """A node's MAC addresses, the public one first."""
    return [it.mac for it in usual_interfaces(node)]


def usual_interfaces(node: Node) -> list[Interface]:
    """A node's interfaces with a MAC address, the public one first."""
    return sorted((it for it in node.interfaces if it.mac), key=lambda it: it.mac != node.pub_mac)


def set_text(number: Any, state: Any) -> str:
    """`7` of a running set, `7(ending)` of another."""
    if number is None:
        return ""
    return str(number) if state == "running" else f"{number}({state})"


def export_files(cluster: ClusterRecord, subnet: str) -> dict[str, str]:
    """The texts of vcnet_NAME.txt and vcnodes_NAME.txt by which an owner sets up the frontend.

    Node N of the cluster, from 1, gets the Nth address of the subnet. Unknown values are empty. ValueError for a
    subnet that is none or too small.
    """
    import ipaddress

    network = ipaddress.ip_network(subnet)
    if network.num_addresses - 2 < len(cluster.computes):
        raise ValueError(
            f"'{subnet}' has fewer addresses than the cluster has computes ({len(cluster.computes)})"
        )
    ip, mask, gateway, dns1, dns2, ntp = (
        getattr(cluster.frontend, name, None) or ""
        for name in ("pub_ip", "pub_netmask", "gateway", "dns1", "dns2", "ntp")
    )
    pairs = {"IP": ip, "MASK": mask, "GATEWAY": gateway, "DNS": f"{dns1} {dns2}".strip(), "NTP": ntp}
    lines = [
        f"{it.name},{it.interfaces[0].mac if it.interfaces else ''},{network.network_address + number}\n"
        for number, it in enumerate(cluster.computes, 1)
    ]
    return {"vcnet": "".join(f"{key}: {value}\n" for key, value in pairs.items()), "vcnodes": "".join(lines)}
