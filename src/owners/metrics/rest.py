"""What the nodes of a cluster use: CPU, memory, network, disk, now and over time.

prometheus-libvirt-exporter on each host has the counters of libvirt, labelled with the UUIDs of machines, and the
site's Prometheus keeps them. It is asked for the UUIDs of the asker's nodes alone: a name may have been another owner's
machine before, and a Prometheus may have those of other sites, too.
"""

from __future__ import annotations

import json
import logging
import math
import time
from typing import TYPE_CHECKING, Annotated, NamedTuple
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from pydantic import Field

from nucleus.api import models
from nucleus.api.access.throttles import AtOnce
from nucleus.api.decorators import route
from nucleus.api.etags import json_answer
from nucleus.api.problems import unavailable
from nucleus.api.service import Known, Reading, charged, find_cluster, reading, unknown_node
from nucleus.mirror import clusters
from nucleus.mirror.columns import same_name
from rocks.core import downloads
from rocks.core.errors import RocksError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.responses import Response

    from nucleus.records import Node

_LOG = logging.getLogger("nucleus.metrics")

_RATES = {
    "cpu": "info_cpu_time_seconds_total",
    "received": "interface_stats_receive_bytes_total",
    "sent": "interface_stats_transmit_bytes_total",
    "read": "block_stats_read_bytes_total",
    "written": "block_stats_write_bytes_total",
}
"""Value → the counter of libvirt that grows with it, as the exporter names it."""

_MEMORY = "info_memory_usage_bytes"
_MOST_VALUES, _MOST_OF_EACH = 120, 30
"""Of one node, and of each of all: the rows of a table have lines of a hundred pixels."""
_RATE_SECONDS = 150
"""A rate needs two values, and Prometheus asks hosts each minute by default."""
_WAIT_SECONDS = 5.0
_MOST_NODES, _MAX_BYTES = 500, 4 << 20
"""Of one question to Prometheus, and of its answer."""
_QUERIES = AtOnce("queries of metrics", 2, max_of_all=4, retry_seconds=2)

router = APIRouter()


class NodeMetrics(models.Answer):
    """One value for each of the moments; null: not measured."""

    name: str
    cpu: list[float | None] = Field(description="CPUs that are busy")
    memory: list[float | None] | None = Field(None, description="bytes that the host gives to the node")
    received: list[float | None] | None = Field(None, description="bytes a second, of all interfaces")
    sent: list[float | None] | None = Field(None, description="bytes a second")
    read: list[float | None] | None = Field(None, description="bytes a second, of all disks")
    written: list[float | None] | None = Field(None, description="bytes a second")


class Metrics(models.Answer):
    """Resource use of nodes; if the site keeps no metrics, only the reason."""

    cluster: str
    moments: list[int] = Field(description="seconds since 1970-01-01 UTC")
    nodes: list[NodeMetrics]
    reason: str | None = None


class _RangeQuery(NamedTuple):
    """What Prometheus is asked for: moments in UNIX seconds, and the values of each node."""

    moments: Sequence[int]
    step: int
    values: Sequence[str]


Hours = Annotated[int | None, Query(ge=1, le=168, description="so many hours until now; without it, now")]
Named = Annotated[str | None, Query(max_length=128, description="of this node alone")]


@route(router, "GET /v1/cluster/{c}/metrics", "cluster_metrics", "Resource use of a cluster's nodes", Metrics)
def cluster_metrics(call: Known, c: str, hours: Hours = None, node: Named = None) -> Response:
    """A request with hours but without a node gets the CPUs only. 503: the site's Prometheus does not answer."""

    def look(reading: Reading) -> tuple[str, list[Node], float]:
        cluster = find_cluster(reading, c)
        nodes = clusters.nodes_of(reading.session, reading.scope, [cluster.id])[cluster.id]
        chosen = [one for one in nodes if node is None or same_name(one.name, node)]
        if node is not None and not chosen:
            raise unknown_node(cluster.name, node)
        return cluster.name, chosen, clusters.assigned_at(reading.session, cluster.id)

    name, nodes, first = reading(call, look)
    url = call.service.configuration.metrics.prometheus
    if not url:
        reason = "this site keeps no metrics of nodes; ask its operators for them"
        return json_answer({"cluster": name, "moments": [], "nodes": [], "reason": reason})
    asked = _range_query(hours, is_of_one=node is not None)
    uuids = [one.uuid for one in nodes if one.uuid]
    found: dict[tuple[str | None, str], list[float | None]] = {}
    with _QUERIES.one_more(call.caller.user.id), charged(call):
        for begin in range(0, len(uuids), _MOST_NODES):
            found |= _ask(url, asked, uuids[begin : begin + _MOST_NODES])
    first += max(asked.step, _RATE_SECONDS)  # a rate is of the time before its moment
    for values in found.values():  # before, the cluster may have been another project's
        values[:] = [
            value if moment >= first else None for moment, value in zip(asked.moments, values, strict=True)
        ]
    rows = [
        {"name": one.name}
        | {value: found.get((one.uuid, value)) or _nothing(asked) for value in asked.values}
        for one in nodes
    ]
    content = {"cluster": name, "moments": list(asked.moments), "nodes": rows}
    return json_answer(content, 200, {"Cache-Control": "private, max-age=5"})


def _range_query(hours: int | None, is_of_one: bool) -> _RangeQuery:
    now = int(time.time())
    if hours is None:
        return _RangeQuery([now], 0, [*_RATES, "memory"])
    step = 60 * math.ceil(hours * 60 / (_MOST_VALUES if is_of_one else _MOST_OF_EACH))
    end = now - now % step
    moments = range(end - hours * 3600 + step, end + 1, step)
    return _RangeQuery(moments, step, [*_RATES, "memory"] if is_of_one else ["cpu"])


def _nothing(asked: _RangeQuery) -> list[float | None]:
    return [None] * len(asked.moments)


def _ask(
    url: str, asked: _RangeQuery, uuids: Sequence[str]
) -> Mapping[tuple[str | None, str], list[float | None]]:
    """(UUID, value) → its values at the moments, of those that Prometheus has. Problem 503."""
    text = " or ".join(_expression(value, uuids, max(asked.step, _RATE_SECONDS)) for value in asked.values)
    form = {"query": text, "time": str(asked.moments[-1]), "timeout": f"{_WAIT_SECONDS:.0f}s"}
    kind = "query"
    if asked.step:
        kind = "query_range"
        form |= {"start": str(asked.moments[0]), "end": str(asked.moments[-1]), "step": str(asked.step)}
    try:
        data = downloads.fetch(
            f"{url.rstrip('/')}/api/v1/{kind}", _MAX_BYTES, urlencode(form).encode(), _WAIT_SECONDS
        )
        return _series(json.loads(data), asked, set(uuids))
    except (
        RocksError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
        OverflowError,
    ) as error:
        _LOG.warning("Prometheus: %s", str(error)[:500] or type(error).__name__)
        raise unavailable("the metrics of this site cannot be read now; try again later") from None


def _expression(value: str, uuids: Sequence[str], seconds: int) -> str:
    """PromQL, with the label `of` for the value."""
    which = f'{{uuid=~"{"|".join(uuids)}"}}'
    if value in _RATES:
        what = f"sum by (uuid) (rate(libvirt_domain_{_RATES[value]}{which}[{seconds}s]))"
    else:  # of a machine that moves, two hosts may have it
        what = f"max by (uuid) (libvirt_domain_{_MEMORY}{which})"
    return f'label_replace({what}, "of", "{value}", "", "")'


def _series(
    answer: dict[str, dict[str, list[dict[str, object]]]], asked: _RangeQuery, uuids: set[str]
) -> dict[tuple[str | None, str], list[float | None]]:
    place = {moment: index for index, moment in enumerate(asked.moments)}
    found = dict[tuple[str | None, str], list[float | None]]()
    for one in answer["data"]["result"]:
        labels, pairs = one["metric"], one.get("values") or [one["value"]]
        if not isinstance(labels, dict) or not isinstance(pairs, list) or labels["uuid"] not in uuids:
            continue
        if labels["of"] not in asked.values:
            continue
        values = found.setdefault((labels["uuid"], str(labels["of"])), _nothing(asked))
        for moment, text in pairs:
            if int(moment) in place:
                values[place[int(moment)]] = _rounded(float(text))
    return found


def _rounded(number: float) -> float | None:
    """Four digits are enough for a plot."""
    if not math.isfinite(number) or number < 0:
        return None
    return round(number) if number >= 1000 else round(number, 3)
