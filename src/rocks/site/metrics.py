"""Metrics of the site as text for Prometheus (its exposition format 0.0.4). Pure.

The text is a file for node_exporter's collector, written by a timer: servers in the services, the agent and
the daemons would be four more listeners on machines where tenants run guests.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from rocks.site.overview_rules import UP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rocks.site.overview_rules import SiteOverview

_BYTES_PER_MB = 1 << 20


class Metric(NamedTuple):
    """A metric: its name, type and meaning, and a value for each set of labels."""

    name: str
    type: str
    """`gauge` or `counter`."""
    meaning: str
    values: tuple[tuple[Mapping[str, str], float], ...]


class SiteCounts(NamedTuple):
    """What the database counts."""

    audit_entries: int
    commands_without_outcome: int
    leases: Mapping[str, int]
    """State of leases → their number; fences count as `fence`."""


def metrics_text(metrics: Iterable[Metric]) -> str:
    """The document, each metric with its help, type and values."""
    lines = []
    for metric in metrics:
        lines.append(f"# HELP {metric.name} {_escaped(metric.meaning)}")
        lines.append(f"# TYPE {metric.name} {metric.type}")
        for labels, value in metric.values:
            pairs = ",".join(f'{name}="{_quoted(text)}"' for name, text in labels.items())
            lines.append(f"{metric.name}{f'{{{pairs}}}' if pairs else ''} {value:.15g}")
    return "".join(line + "\n" for line in lines)


def site_metrics(site: SiteOverview, counts: SiteCounts, seconds: float) -> list[Metric]:
    """The metrics of an overview. A host without facts has `rocks_host_up` 0 and no other values of its own.

    `seconds`: how long the hosts and NASes were asked.
    """
    return [
        *_host_metrics(site),
        *_cluster_metrics(site),
        *_concern_metrics(site, counts),
        _gauge("rocks_site_read_seconds", "How long the hosts and NASes were asked.", (({}, seconds),)),
    ]


def _host_metrics(site: SiteOverview) -> list[Metric]:
    def of_hosts(name: str, meaning: str, attribute: str, factor: float = 1.0) -> Metric:
        found = [(host.host, getattr(host, attribute)) for host in site.hosts]
        return _gauge(
            name, meaning, (({"host": host}, value * factor) for host, value in found if value is not None)
        )

    up = (({"host": host.host}, host.state == UP) for host in site.hosts)
    memory_meaning = "Memory of its active machines."
    return [
        _gauge("rocks_host_up", "Whether the host answers, and with no error.", up),
        of_hosts("rocks_host_cpus", "Processors of the host.", "cpus"),
        of_hosts("rocks_host_load1", "Load average of the last minute.", "load"),
        of_hosts("rocks_host_memory_bytes", "Memory of the host.", "memory_mb", _BYTES_PER_MB),
        of_hosts("rocks_host_vm_memory_bytes", memory_meaning, "vm_memory_mb", _BYTES_PER_MB),
        of_hosts("rocks_host_vm_cpus", "Processors of its active machines.", "vm_cpus"),
        of_hosts("rocks_host_vms_running", "Active machines on the host.", "running"),
        of_hosts("rocks_host_vms_placed", "Machines whose container the host is.", "placed"),
    ]


def _cluster_metrics(site: SiteOverview) -> list[Metric]:
    def of_clusters(name: str, meaning: str, attribute: str) -> Metric:
        return _gauge(
            name, meaning, (({"cluster": one.cluster}, getattr(one, attribute)) for one in site.clusters)
        )

    return [
        of_clusters("rocks_cluster_vms", "Machines of the virtual cluster, its frontend too.", "machines"),
        of_clusters("rocks_cluster_vms_running", "Active machines of the virtual cluster.", "running"),
        of_clusters(
            "rocks_cluster_vms_unknown",
            "Machines of the virtual cluster on hosts that are not up.",
            "unknown",
        ),
    ]


def _concern_metrics(site: SiteOverview, counts: SiteCounts) -> list[Metric]:
    images = Counter((image.nas, image.state) for image in site.images)
    concerns = Counter(concern.subject.partition(" ")[0] for concern in site.concerns)
    return [
        _gauge(
            "rocks_images_in_transfer",
            "Images that are not at rest, by NAS and state.",
            (({"nas": nas, "state": state}, count) for (nas, state), count in sorted(images.items())),
        ),
        _gauge(
            "rocks_problems",
            "What needs an operator (rocks list site), by kind of subject.",
            (({"subject": subject}, count) for subject, count in sorted(concerns.items())),
        ),
        _gauge(
            "rocks_leases",
            "Leases of machines that hosts hold, and fences that they have not confirmed.",
            (({"state": state}, count) for state, count in sorted(counts.leases.items())),
        ),
        Metric(
            "rocks_audit_entries_total", "counter", "Entries of the audit log.", (({}, counts.audit_entries),)
        ),
        _gauge(
            "rocks_commands_without_outcome",
            "Commands of the last day that are at work or were killed.",
            (({}, counts.commands_without_outcome),),
        ),
    ]


def _gauge(name: str, meaning: str, values: Iterable[tuple[Mapping[str, str], float]]) -> Metric:
    return Metric(name, "gauge", meaning, tuple(values))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
