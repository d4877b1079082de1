"""Network devices and packet filters of guests: made, given back, brought back after a reboot, made as planned."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, List, Sequence, Tuple

from rocks.agent.host import Host
from rocks.clock import Deadline, wait_seconds
from rocks.devices.change import UNCHANGED, Change
from rocks.devices.libvirt.checks import ACTIVE
from rocks.devices.libvirt.domain_xml import DomainDocument
from rocks.devices.network.packet_filter.guests import ensure_filtered
from rocks.devices.network.rules import is_ours
from rocks.devices.state_folder import locked
from rocks.errors import RocksError, StateError
from rocks.wire.agent import AgentError, LinkSpec
from rocks.wire.network import LinkOutcome, SyncLinksReply, SyncLinksRequest

_LOCK_DEADLINE_SECONDS = 20.0
_POLL_SECONDS = 0.5
_DEVICES = Path("/sys/class/net")


def secured(host: Host, document: DomainDocument) -> Change:
    """Have the guest's interfaces filtered, where its document wants it."""
    return ensure_filtered(host.filters(), document) if document.is_filtered else UNCHANGED


def release_links(host: Host, name: str, links: Sequence[LinkSpec] = ()) -> Change:
    """The machine needs its devices no more: remove what nothing uses. That it failed is only worth a note."""
    changed = False
    try:
        unneeded = {link.device: link for link in (*links, *host.link_plans.recall(name))}
        host.link_plans.forget(name)
        with links_held(host, tuple(unneeded.values()), shared=False):
            for link in unneeded.values():
                changed = host.links().remove_if_unused(link).changed or changed
    except RocksError as error:
        return Change(changed, (f"a network device was left: {error}",))
    return Change(changed)


def ensure_planned(host: Host, name: str) -> None:
    """Have the devices of a machine that libvirt is about to start by itself, as they were when we started it."""
    links = host.link_plans.recall(name)
    if any(not (_DEVICES / link.device).exists() for link in links):
        with links_held(host, links, shared=True):
            for link in links:
                host.links().ensure(link)


def restore_links(host: Host, deadline_seconds: float) -> Tuple[List[str], List[RocksError]]:
    """Have all planned devices after a boot; returns those that were made and what went wrong.

    A device of the host that is not up yet is waited for, until the deadline.
    """
    wanted, unreadable = host.link_plans.all_links()
    made, errors = [], list(unreadable)
    deadline = Deadline(deadline_seconds)
    with links_held(host, tuple(wanted.values()), shared=True):
        for link in wanted.values():
            try:
                if _ensure_soon(host, link, deadline).changed:
                    made.append(link.device)
            except RocksError as error:
                errors.append(error)
    return made, errors


def sync_links(host: Host, request: SyncLinksRequest) -> SyncLinksReply:
    """Have the devices of these machines, remove ours that no machine needs, and keep the plan for the next boot."""
    with _locked(host, shared=False):
        # a machine that was started after the frontend had read its records keeps what it has
        awake = [fact.name for fact in host.domains().facts() if fact.state in ACTIVE]
        plans = {name: host.link_plans.recall(name) for name in (*awake, *request.kept)}
        plans.update({plan.name: plan.links for plan in request.plans})
        wanted = {link.device: link for links in plans.values() for link in links}
        host.link_plans.replace(plans)
        outcomes = [_synchronised(host, link) for link in wanted.values()]
        removed = host.links().remove_all_but(wanted)
        left = [link.name for link in host.links().list() if is_ours(link)]
    outcomes += [LinkOutcome(device, "removed") for device in removed]
    outcomes += [LinkOutcome(device, "used") for device in left if device not in wanted]
    return SyncLinksReply(tuple(outcomes))


@contextmanager
def links_held(host: Host, links: Sequence[LinkSpec], *, shared: bool) -> Iterator[None]:
    """Starts hold the links together from making them to the guest hanging on them; removal wants them alone."""
    if not links:
        yield
        return
    with _locked(host, shared=shared):
        yield


@contextmanager
def _locked(host: Host, *, shared: bool) -> Iterator[None]:
    busy = "another command is starting or stopping guests on this host; try again when it has ended"
    path = host.state_folder / "links.lock"
    with locked(path, shared=shared, deadline_seconds=_LOCK_DEADLINE_SECONDS, busy=busy):
        yield


def _ensure_soon(host: Host, link: LinkSpec, deadline: Deadline) -> Change:
    while True:
        try:
            return host.links().ensure(link)
        except StateError:
            if deadline.passed():
                raise
            wait_seconds(_POLL_SECONDS)


def _synchronised(host: Host, link: LinkSpec) -> LinkOutcome:
    try:
        return LinkOutcome(link.device, "made" if host.links().ensure(link).changed else "kept")
    except RocksError as error:
        return LinkOutcome(link.device, "failed", AgentError(error.family, str(error)))
