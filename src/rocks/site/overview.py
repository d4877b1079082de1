"""Reads the site at a glance: all hosts and all NASes are asked at once, each for a bounded time; also as metrics."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.check_lines import OK
from rocks.core.clock import monotonic_seconds, utc_now
from rocks.core.errors import RocksError, without_errors
from rocks.inventory import cluster_records as clusters
from rocks.inventory.host_requests import is_silent, open_fleet
from rocks.inventory.loaded_host_records import load_hosts, physical_hosts
from rocks.leases import lease as leases
from rocks.leases.machine_requests import contact_hosts
from rocks.machine import listing_records, record
from rocks.site.checks import AT_ONCE, HOST_SECONDS, check_site
from rocks.site.overview_rules import (
    SETTLED,
    UP,
    Concern,
    ImageLine,
    SiteOverview,
    check_concerns,
    cluster_lines,
    doubt_concerns,
    host_concerns,
    host_lines,
    image_concerns,
)
from rocks.storage.client import asking, listing
from rocks.storage.volumes.access import open_storage
from rocks.storage.volumes.nodes import storage_nodes
from rocks.storage.wire.names import NAS
from rocks.trust.audit import count_entries

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rocks.database.connection import Database
    from rocks.fleet.wire.facts import HostFacts
    from rocks.storage.wire.replies import ImageRow


NAS_SECONDS = 5.0
"""How long an overview waits for a NAS; then it counts as silent."""


def read_overview(database: Database) -> SiteOverview:
    """The site now. Hosts and NASes that do not answer in time are in it as such; errors of the database are raised."""
    containers = {row.name: row.container for row in listing_records.vm_rows(database, None)}
    members = {name: (found.names, found.vlans) for name, found in clusters.members(database, None).items()}
    hosts = [host.name for host in load_hosts(database, physical_hosts(database)) if host.is_true("kvm")]
    nases = [node.name for node in storage_nodes(database) if NAS in node.roles]
    facts, silent, errors = _ask_hosts(database, hosts)
    images, of_storage = _ask_storage(database, nases)
    held = leases.held_leases(database)
    doubts = record.doubts(database)
    checks = list(check_site(database, AT_ONCE))
    database.end_reading()
    return SiteOverview(
        utc_now().strftime("%Y-%m-%d %H:%M:%S"),
        tuple(host_lines(hosts, facts, containers.values(), errors)),
        tuple(cluster_lines(members, containers, facts)),
        tuple(images),
        (
            *host_concerns(silent, held, facts, errors),
            *doubt_concerns(doubts),
            *of_storage,
            *image_concerns(images),
            *check_concerns(checks, OK),
        ),
    )


def _ask_hosts(
    database: Database, hosts: list[str]
) -> tuple[dict[str, HostFacts | None], dict[str, str], dict[str, str]]:
    """Host → its facts, None where there are none; host → why it did not answer; host → why it cannot be asked."""
    with open_fleet(database, hosts) as fleet:
        answers = contact_hosts(database, fleet, hosts, limit_seconds=HOST_SECONDS)
    failed: dict[str, RocksError] = {}
    found = dict(without_errors(answers.items(), failed))
    silent = {host: str(error) for host, error in failed.items() if is_silent(error)}
    errors = {host: str(error) for host, error in failed.items() if host not in silent}
    return {host: found.get(host) for host in answers}, silent, errors


def _ask_storage(database: Database, nases: list[str]) -> tuple[list[ImageLine], list[Concern]]:
    """The images on their way, and the NASes that did not answer."""
    if not nases:
        return [], []
    try:
        with open_storage(database) as storage:
            answers = storage.ask_each({nas: asking.images_of(nas) for nas in nases}, NAS_SECONDS)
    except RocksError as error:
        return [], [Concern("image storage", str(error))]
    images: list[ImageLine] = []
    concerns: list[Concern] = []
    for nas in nases:
        answer = answers[nas]
        if isinstance(answer, RocksError):
            concerns.append(Concern(f"NAS {nas}", f"does not answer: {answer}"))
        else:
            images += _on_their_way(nas, answer)
    return images, concerns


def _on_their_way(nas: str, rows: Iterable[ImageRow]) -> list[ImageLine]:
    lines = [
        ImageLine(row.zvol, nas, listing.state_word(row), row.remotehost or "", listing.map_note(row) or "")
        for row in rows
    ]
    return [line for line in lines if line.state not in SETTLED or line.note]


def read_metrics(database: Database) -> str:
    """The site now, as text for Prometheus; errors of the database are raised."""
    begun = monotonic_seconds()
    site = read_overview(database)
    seconds = monotonic_seconds() - begun
    counts = SiteCounts(*count_entries(database), Counter(row.state for row in leases.held_leases(database)))
    return metrics_text(site_metrics(site, counts, seconds))


# Metrics of the site as text for Prometheus (its exposition format 0.0.4). Pure.
#
# The text is a file for node_exporter's collector, written by a timer: servers in the services, the agent and
# the daemons would be four more listeners on machines where tenants run guests.


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
