"""Rows of tables from records: the mash-ups of `comet ll` and `comet cluster` (specification §9.2). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comet.client.hostlists import collect_hostlist
from comet.client.records import ClusterRecord, Computeset, Node


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
    "name state kind type mac ip cpus cluster memory disksize active_computeset active_computeset_state "
    "allocation admin_state image_state power host stale"
)


def node_rows(cluster: ClusterRecord, sets: Sequence[Computeset]) -> list[dict[str, Any]]:
    """A row for each node, the frontend first; its allocation is that of its set. Keys are stable for scripts."""
    accounts = {it.id: it.account for it in sets}
    return [node_row(it, accounts.get(it.computeset or 0)) for it in cluster.nodes()]


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
    found = [it.mac for it in node.interfaces if it.mac]
    return sorted(found, key=lambda mac: mac != node.pub_mac)


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
