"""`comet ll`, `cluster`, `ssh`, `top`, `node …`, `export-nodes`."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
import subprocess  # noqa: TID251 - this program stands alone, without rocks.core
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from comet.cli.context import Context, computes_of, locate, watched
from comet.cli.output import Column, columns, printed, safe, show, tabbed
from comet.client import records
from comet.client.errors import NotFoundError, RefusedError, UsageError
from comet.client.files import replace_file
from comet.client.hostlists import check_names, expand_hostlist, natural_key
from comet.client.views import (
    NODE_KEYS,
    export_files,
    macs,
    node_rows,
    row,
    set_text,
    summary,
    usual_interfaces,
)

_SUMMARY = columns(
    *("name", "project", "count", "nodes", "frontend", "state", "type", "allocations", "description"),
    **{
        "name": "Name",
        "project": "Project",
        "count": "Count",
        "nodes": "Nodes",
        "description": "Description",
    },
    **{"frontend": "Frontend (Fe)", "state": "State (Fe)", "type": "Type (Fe)"},
)
_NODES = columns(
    *("name", "state", "computeset_text", "allocation", "admin_state", "mac", "ip", "cluster"),
    *("kind", "type", "cpus", "memory", "disksize"),
    computeset_text="computeset",
    memory="RAM(M)",
    disksize="disk(G)",
)
_USED = columns(
    *("name", "cpu", "memory", "received", "sent", "read", "written"),
    cpu="CPUs",
    received="in/s",
    sent="out/s",
    read="read/s",
    written="written/s",
)
"""CPUs that are busy, memory in bytes, and bytes a second of networks and disks."""
_FRONTEND = "pub_ip pub_mac pub_netmask gateway dns1 dns2 ntp"
_COMPUTE = "active_computeset active_computeset_state"
_SORT = {"computeset": "active_computeset", "ram": "memory", "disk": "disksize"}


def documents(context: Context) -> list[Any]:
    """The server's clusters: the named one, those whose names match a pattern such as v*, or all."""
    name = context.arguments.cluster
    is_pattern = name is not None and not {*"*?["}.isdisjoint(name)
    if name is not None and not is_pattern:
        return [context.client.document("cluster", name, "")]
    found = records.read_list(context.client.document("cluster", ""), "clusters")
    if is_pattern:
        matches = re.compile(fnmatch.translate(name.casefold())).match
        found = [it for it in found if matches(records.read_cluster(it).name.casefold())]
        if not found:
            raise NotFoundError(f"no cluster of yours matches {name!r}. List them: comet ll")
    return found


def summary_rows(context: Context) -> None:
    watched(context, _summary_rows)


def _summary_rows(context: Context) -> None:
    found = documents(context)
    clusters = [records.read_cluster(it) for it in found]
    if _say_none(context, clusters):
        return
    context.stale = any(it.stale for it in clusters)
    rows = sorted_rows([summary(it) for it in clusters], context.option("sort"))
    context.print(rows, _SUMMARY, lambda: found)


def _say_none(context: Context, clusters: list[records.ClusterRecord]) -> bool:
    """Whether there is nothing to print for a person, who gets a sentence."""
    if clusters or context.form != "table":
        return False
    context.say("you have no cluster: the site's operators give one to a project, and put you into it")
    return True


def nodes(context: Context) -> None:
    watched(context, _nodes)


def _nodes(context: Context) -> None:
    """The mash-up of clusters, their nodes and their sets."""
    found = documents(context)
    clusters = [records.read_cluster(it) for it in found]
    if _say_none(context, clusters):
        return
    context.stale = any(it.stale or any(node.stale for node in it.nodes()) for it in clusters)
    if context.form == "rest":
        context.print_document(found)
        return
    busy = any(node.computeset is not None for it in clusters for node in it.computes)
    sets = context.client.computesets(records.LIVING_STATES) if busy else []
    state = context.option("state")
    chosen = _chosen_columns(context)
    tables = [
        (it, [one for one in sorted_rows(node_rows(it, sets), context.option("sort")) if _is_in(one, state)])
        for it in clusters
    ]
    if context.form != "table":
        listed = [it for _, rows in tables for it in rows]
        if context.option("columns"):
            listed = [{column.key: it[column.key] for column in chosen} for it in listed]
        context.print(listed, chosen if context.option("columns") else _NODES, keys=NODE_KEYS)
        return
    for cluster, rows in tables:
        frontend = cluster.frontend
        name, address = (frontend.name, frontend.pub_ip) if frontend else ("none", None)
        show(tabbed(f"Cluster: {cluster.name}", f"Frontend: {name}", f"IP: {address or 'no address'}"))
        for it in rows:
            it["computeset_text"] = set_text(it["active_computeset"], it["active_computeset_state"])
        show(printed(rows, chosen, "table"))


def _chosen_columns(context: Context) -> tuple[Column, ...]:
    """The columns of --columns, by key or heading, else those of the view. UsageError for one that there is not."""
    if context.option("columns") is None:
        count = 5 if context.option("status") else 8 if context.option("concise") else len(_NODES)
        return _NODES[:count]
    known = {name: it for it in _NODES for name in (it.key, it.heading.lower().partition("(")[0])}
    known |= {name: Column(name, name) for name in NODE_KEYS.split() if name not in known}
    names = [it for it in str(context.option("columns")).lower().replace(" ", "").split(",") if it]
    unknown = [it for it in names if it not in known]
    if unknown or not names:
        raise UsageError(f"--columns={context.option('columns')}: choose from {', '.join(sorted(known))}")
    return tuple(known[it] for it in names)


def _is_in(one: Mapping[str, Any], state: Any) -> bool:
    return state is None or str(state).lower() in (one["state"], one["power"])


def sorted_rows(rows: list[dict[str, Any]], key: Any) -> list[dict[str, Any]]:
    """Rows in the order of a column; without one as they are."""
    if not key:
        return rows
    name = _SORT.get(key, key)

    def of(one: Mapping[str, Any]) -> Any:
        value = one.get(name)
        if isinstance(value, list):
            value = value[0] if value else None
        # a MAC address is hexadecimal: 0a comes behind 09
        return (value is None, str(value).casefold() if name == "mac" else natural_key(str(value)))

    return sorted(rows, key=of)


def ssh(context: Context) -> int:
    """Log in to a frontend, or through it to one of its computes, whose network is private."""
    user, at, name = context.arguments.node.rpartition("@")
    if at and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", user):  # ssh gives it to a shell
        raise UsageError(f"{user!r} is no user of a machine: comet ssh root@{name}")
    known = [(it, one) for it in context.client.clusters() for one in it.nodes()]
    found = [(it, one) for it, one in known if one.name.casefold() == name.casefold()]
    if len(found) != 1:
        those = ", ".join(it.name for it, _ in found)
        several = (
            f"several clusters have a node {name}: {those}. Log in to the frontend of one: comet ssh CLUSTER"
        )
        raise NotFoundError(
            several if found else f"there is no node {name} of yours. List them: comet cluster"
        )
    ((cluster, node),) = found
    for one in (cluster.frontend, node):
        if one is not None and one.power == "off":
            is_free = one.kind == "compute" and one.computeset is None
            nodes = f" {one.name}" if one.kind == "compute" else ""
            raise RefusedError(
                f"{one.name} is off: comet {'start' if is_free else 'power on'} {cluster.name}{nodes}"
            )
    frontend = _address(cluster.frontend, cluster.frontend and cluster.frontend.pub_ip)
    line = ["ssh", "--", f"{user}{at}{frontend}"]
    if node.kind == "compute":
        own = _address(node, next((it.ip for it in node.interfaces if it.ip), None))
        # other clusters may have the address, too, with another key
        alias = f"HostKeyAlias={node.name}.{cluster.name}"
        line = ["ssh", "-o", alias, "-J", f"{user}{at}{frontend}", "--", f"{user}{at}{own}"]
    context.client.close()
    try:
        return subprocess.call(line)
    except FileNotFoundError:
        raise UsageError("the program ssh is not here: install OpenSSH's client") from None


def _address(node: Optional[records.Node], text: Optional[str]) -> str:
    if text is None:
        raise RefusedError(
            f"{node.name if node else 'the frontend'} has no address. Look at it: comet cluster"
        )
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise records.bad_answer("a node's address is not an IPv4 address") from None


def top(context: Context) -> None:
    locate(context, "cluster")
    document = context.client.document("cluster", context.arguments.cluster, "metrics", fresh=True)
    nodes = document.get("nodes") if isinstance(document, dict) else None
    rows = sorted(map(_used, records.read_list(nodes, "nodes")), key=_busiest_first)
    if document.get("reason") and context.form == "table":
        context.say(str(document["reason"]))
        return
    if context.form == "table":
        rows = [
            {"name": it["name"]}
            | {key: _short(it[key], 1 if key == "cpu" else 0) for key in it if key != "name"}
            for it in rows
        ]
    context.print(rows, _USED, lambda: document)


def _used(node: Any) -> dict[str, Any]:
    """The last value of each column; None: not measured."""
    try:
        return {
            it.key: node["name"] if it.key == "name" else (node.get(it.key) or [None])[-1] for it in _USED
        }
    except (KeyError, TypeError, AttributeError):
        raise records.bad_answer("its metrics have no nodes") from None


def _busiest_first(one: Mapping[str, Any]) -> tuple[float, Any]:
    number = one["cpu"]
    return -number if isinstance(number, (int, float)) else 1, natural_key(str(one["name"]))


def _short(number: Any, digits: int) -> str:
    """A number of at most four characters and its unit; '-' for what was not measured."""
    if not isinstance(number, (int, float)):
        return "-"
    for unit in ("", "k", "M", "G"):
        if number < 1000:
            return f"{number:.{digits}f}{unit}"
        number, digits = number / 1000, 1
    return f"{number:.1f}T"


def node_info(context: Context) -> None:
    locate(context, "node")
    name, node = context.arguments.cluster, context.arguments.node
    segments = ("cluster", name, "frontend", "") if node is None else ("cluster", name, "compute", node, "")
    document = context.client.document(*segments)
    found = records.read_node(document, "frontend" if node is None else "compute", name)
    context.stale = found.stale
    if context.form == "rest":
        context.print_document(document)
        return
    values = row(
        found,
        "name kind cluster state power type admin_state image_state admin_disabled cpus memory disksize mac iface "
        "host iso iso_active observed_at stale power_since host_state "
        + (_FRONTEND if node is None else _COMPUTE),
        admin_state=found.disk_state,
        mac=macs(found),
        iface=[it.iface for it in usual_interfaces(found)],
        active_computeset=found.computeset,
        active_computeset_state=found.computeset_state,
    )
    if context.form == "table":
        # an empty host: Nucleus keeps hosts from owners
        pairs = [{"attribute": key, "value": it} for key, it in values.items() if key != "host" or it]
        context.print(pairs, columns("attribute", "value"))
    else:
        context.print([values], columns(*values))


def rename(context: Context) -> None:
    cluster = context.arguments.cluster
    old, new = expand_hostlist(context.arguments.old), expand_hostlist(context.arguments.new)
    if len(old) != len(new):
        raise UsageError(f"{len(old)} nodes and {len(new)} new names: give as many")
    if cluster.casefold() in {it.casefold() for it in old}:
        raise UsageError(f"{cluster} is the frontend, whose name is the cluster's: only computes are renamed")
    known = computes_of(context, old).keys() - {it.casefold() for it in old}
    taken = [it for it in new if it.casefold() in known]
    if taken:
        raise RefusedError(f"cluster {cluster} has a compute {taken[0]} already, which is not renamed here")
    pairs = dict(zip(old, new))
    check_names(new)
    renamed = "\n".join(f"{before} -> {after}" for before, after in pairs.items())
    if not context.option("yes"):
        context.say(renamed)
    context.confirm(f"Rename {len(pairs)} node{'s' if len(pairs) > 1 else ''} of {cluster}?")
    context.client.rename(cluster, pairs)
    if context.option("yes"):  # not before: the service may refuse them
        context.say(renamed)
    context.say(f"{len(pairs)} renamed")


def export_nodes(context: Context) -> None:
    """Write both files, each as a whole or not at all."""
    locate(context, "cluster")
    cluster = context.client.cluster(context.arguments.cluster)
    try:
        texts = export_files(cluster, str(context.option("subnet", "10.0.0.0/24")))
    except ValueError as error:
        raise UsageError(f"--subnet: {error}") from error
    if "/" in cluster.name or not cluster.name.isprintable():
        raise records.bad_answer("a cluster's name cannot be part of a file's name")
    folder = Path(str(context.option("directory", ".")))
    for kind, text in texts.items():
        path = folder / f"{kind}_{cluster.name}.txt"
        # set-up scripts read it: it has one line for each thing that it says
        lines = "".join(safe(line) + "\n" for line in text.split("\n")[:-1])
        try:
            replace_file(path, lines, 0o644)
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
        show(safe(str(path)))
