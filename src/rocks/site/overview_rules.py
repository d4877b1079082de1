"""The site at a glance: hosts, clusters, images on their way, and what needs an operator. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.names import counted
from rocks.core.terminal import one_line
from rocks.leases.plan import MOVING, is_off_on_both
from rocks.machine.disks import doubt_line

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from rocks.core.check_lines import SiteCheck
    from rocks.fleet.wire.facts import DomainFact, HostFacts
    from rocks.leases.plan import HeldLease

UP, SILENT, ERROR = "up", "silent", "error"
"""State of a host; `ERROR`: it answers with an error, or the frontend cannot ask it."""

ACTIVE = frozenset(("running", "blocked", "paused", "shutdown"))
"""States of a domain that has memory and processors."""

SETTLED = frozenset(("unmapped", "mapped"))
"""States of an image that is not on its way."""


class HostLine(NamedTuple):
    """A physical host that runs virtual machines. None: there are no facts, or its agent does not report it."""

    host: str
    state: str
    cpus: int | None
    load: float | None
    memory_mb: int | None
    vm_memory_mb: int | None
    """Memory of the domains that are active."""
    vm_cpus: int | None
    running: int | None
    placed: int
    """Virtual machines that have this host as their container."""


class ClusterLine(NamedTuple):
    """A virtual cluster. `unknown` of its machines are on hosts without facts."""

    cluster: str
    vlans: tuple[int, ...]
    machines: int
    running: int
    unknown: int
    hosts: int


class ImageLine(NamedTuple):
    """An image that is neither at rest on its NAS nor at rest on a host."""

    image: str
    nas: str
    state: str
    host: str
    note: str


class Concern(NamedTuple):
    """What needs an operator: its subject, what is wrong, and the command to run."""

    subject: str
    problem: str


class SiteOverview(NamedTuple):
    """All of it, at a moment in UTC."""

    time: str
    hosts: tuple[HostLine, ...]
    clusters: tuple[ClusterLine, ...]
    images: tuple[ImageLine, ...]
    concerns: tuple[Concern, ...]


def host_lines(
    hosts: Sequence[str],
    facts: Mapping[str, HostFacts | None],
    containers: Iterable[str | None],
    errors: Container[str] = (),
) -> list[HostLine]:
    """A line for each host; None in `facts` is a host that did not answer, or is in `errors`.

    `containers` are those of all virtual machines.
    """
    placed = Counter(containers)
    return [
        _host_line(host, facts.get(host), placed[host], ERROR if host in errors else SILENT) for host in hosts
    ]


def _host_line(host: str, facts: HostFacts | None, placed: int, without: str) -> HostLine:
    if facts is None:
        return HostLine(host, without, None, None, None, None, None, None, placed)
    active = _active(facts)
    memory, cpus = sum(domain.memory_mb for domain in active), sum(domain.cpus for domain in active)
    return HostLine(host, UP, facts.cpus, facts.load, facts.memory_mb, memory, cpus, len(active), placed)


def _active(facts: HostFacts) -> list[DomainFact]:
    return [domain for domain in facts.domains if domain.state in ACTIVE]


def cluster_lines(
    clusters: Mapping[str, tuple[Sequence[str], Sequence[int]]],
    containers: Mapping[str, str | None],
    facts: Mapping[str, HostFacts | None],
) -> list[ClusterLine]:
    """A line for each cluster; `clusters` maps it to its machines and VLANs, `containers` a machine to its own."""
    running = {domain.name for found in facts.values() if found is not None for domain in _active(found)}
    silent = {host for host, found in facts.items() if found is None}
    lines = []
    for name, (members, vlans) in clusters.items():
        places = {containers.get(member) for member in members} - {None}
        unknown = sum(containers.get(member) in silent and member not in running for member in members)
        lines.append(
            ClusterLine(
                name,
                tuple(vlans),
                len(members),
                sum(member in running for member in members),
                unknown,
                len(places),
            )
        )
    return lines


def host_concerns(
    silent: Mapping[str, str],
    leases: Iterable[HeldLease],
    facts: Mapping[str, HostFacts | None] | None = None,
    errors: Mapping[str, str] | None = None,
) -> list[Concern]:
    """What hosts without facts, fences, live migrations and leases of removed machines ask of an operator.

    `silent` maps a host that did not answer to the reason, `errors` one that cannot be asked; `facts` are
    those of the others.
    """
    held = list(leases)
    may_run = Counter(lease.host for lease in held if lease.state != "fence")
    found = [
        Concern(
            f"host {host}",
            f"{problem}: {one_line(why)}"
            + (
                f"; {counted(may_run[host], 'machine')} may still run there: rocks list host vm lease"
                if may_run[host]
                else ""
            ),
        )
        for problem, of_hosts in (("does not answer", silent), ("cannot be asked", errors or {}))
        for host, why in of_hosts.items()
    ]
    texts = [(lease.name, _lease_text(lease, silent, facts or {})) for lease in held]
    return [*found, *(Concern(f"machine {name}", text) for name, text in texts if text)]


def _lease_text(lease: HeldLease, silent: Mapping[str, str], facts: Mapping[str, HostFacts | None]) -> str:
    """What the lease of a machine asks of an operator; empty for most."""
    if lease.state == "fence":
        return f"{lease.host} has not confirmed that its instance is gone: rocks list host vm lease"
    if lease.state == MOVING and is_off_on_both(lease.name, lease.host, lease.target, facts):
        return (
            f"was moving from {lease.host} to {lease.target}, and is off on both: to end that and start it: rocks "
            f"start host vm {lease.name}"
        )
    if lease.state == MOVING:
        text = (
            f"is moving from {lease.host} to {lease.target}; when no command is moving it, end that: "
            f"rocks move host vm {lease.name} {lease.target} live=yes"
        )
        if lease.target in silent:
            text += f"; or, when {lease.target} is certainly off: rocks stop host vm {lease.name} force=yes reason=…"
        return text
    if not lease.is_known:
        return f"was removed, and may still run on {lease.host}: rocks stop host vm {lease.name}"
    return ""


def doubt_concerns(doubts: Iterable[tuple[str, str | None, str]]) -> list[Concern]:
    """Machines whose current disks may be on another host, of (machine, host, that other host)."""
    return [Concern(f"machine {name}", doubt_line(name, host, other)) for name, host, other in doubts]


def image_concerns(images: Iterable[ImageLine]) -> list[Concern]:
    """Images that wait for an operator."""
    return [
        Concern(f"image {image.image}", f"{image.state} on {image.nas}: {image.note}")
        for image in images
        if image.state == "blocked" or image.note.startswith(("waits for space", "the guest is paused"))
    ]


def check_concerns(checks: Iterable[SiteCheck], ok: str) -> list[Concern]:
    """The checks of the site that failed."""
    return [Concern(check.subject, check.detail) for check in checks if check.result != ok]
