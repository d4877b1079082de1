"""Reads the site at a glance: all hosts and all NASes are asked at once, each for a bounded time."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rocks.core.check_lines import OK
from rocks.core.clock import monotonic_seconds, utc_now
from rocks.core.errors import RocksError, without_errors
from rocks.inventory import cluster_records as clusters
from rocks.inventory.host_requests import is_silent, open_fleet
from rocks.inventory.loaded_host_records import load_hosts, physical_hosts
from rocks.leases import lease as leases
from rocks.leases.machine_requests import contact_hosts
from rocks.machine import listing_records as vm_listing
from rocks.machine import record as disk_copies
from rocks.site.checks.checks import AT_ONCE, HOST_SECONDS, check_site
from rocks.site.metrics import SiteCounts, metrics_text, site_metrics
from rocks.site.overview_rules import (
    SETTLED,
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
    from collections.abc import Iterable

    from rocks.database.connection import Database
    from rocks.fleet.wire.facts import HostFacts
    from rocks.storage.wire.replies import ImageRow

NAS_SECONDS = 5.0
"""How long an overview waits for a NAS; then it counts as silent."""


def read_overview(database: Database) -> SiteOverview:
    """The site now. Hosts and NASes that do not answer in time are in it as such; errors of the database are raised."""
    containers = {row.name: row.container for row in vm_listing.vm_rows(database, None)}
    members = {name: (found.names, found.vlans) for name, found in clusters.members(database, None).items()}
    hosts = [host.name for host in load_hosts(database, physical_hosts(database)) if host.is_true("kvm")]
    nases = [node.name for node in storage_nodes(database) if NAS in node.roles]
    facts, silent, errors = _ask_hosts(database, hosts)
    images, of_storage = _ask_storage(database, nases)
    held = leases.held_leases(database)
    doubts = disk_copies.doubts(database)
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
