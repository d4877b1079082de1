"""Network devices and packet filters of guests: made, released, restored after a reboot, synchronised with the plan."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, List, Sequence, Tuple

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import RocksError, StateError
from rocks.fleet.host.change import UNCHANGED, Change
from rocks.fleet.host.state_folder import Place, locked
from rocks.fleet.wire.domain_states import ACTIVE_STATES
from rocks.fleet.wire.errors import as_agent_error
from rocks.fleet.wire.network import LinkOutcome, LinkSpec, SyncLinksReply, SyncLinksRequest
from rocks.machine.host.host import Host
from rocks.machine.host.libvirt.domain_xml import DomainDocument
from rocks.machine.host.libvirt.interface_xml import GuestInterface, SenderLimits
from rocks.network.host.packet_filter.driver import FilterDriver, GuestDevice
from rocks.network.host.packet_filter.programs import MAX_FOREIGN, Rule, Sender, rules_for
from rocks.network.host.rules import is_ours
from rocks.network.host.stored_links import Links

_LOCK_DEADLINE_SECONDS = 20.0
_POLL_SECONDS = 0.5
_DEVICES = Path("/sys/class/net")
_UNKNOWN = SenderLimits()
"""For an interface that a plugin added: only its MAC address is known."""


def ensure_secured(host: Host, document: DomainDocument) -> Change:
    """Filter each interface with a host device where the domain's live XML requires a filter.

    StateError for an interface without a device; other errors as `FilterDriver.ensure`.
    """
    if not document.is_filtered:
        return UNCHANGED
    filters, senders = host.filters(), document.senders
    changes = [
        filters.ensure(_device(document, one), _rules(filters, one, senders)) for one in document.interfaces
    ]
    return Change(any(change.changed for change in changes))


def release_links(host: Host, name: str, links: Sequence[LinkSpec] = ()) -> Change:
    """Remove the network devices of a machine that nothing uses any more. A failure becomes a note."""
    changed = False
    try:
        unneeded = {link.device: link for link in (*links, *host.stored_links.recall(name))}
        host.stored_links.forget(name)
        with links_locked(host, tuple(unneeded.values()), shared=False):
            for link in unneeded.values():
                changed = host.links().remove_if_unused(link).changed or changed
    except RocksError as error:
        return Change(changed, (f"a network device was not removed: {error}",))
    return Change(changed)


def ensure_planned(host: Host, name: str) -> None:
    """Make the devices of a machine, which libvirt is about to start by itself, as at its last start by this system."""
    links = host.stored_links.recall(name)
    if any(not (_DEVICES / link.device).exists() for link in links):
        with links_locked(host, links, shared=True):
            for link in links:
                host.links().ensure(link)


def restore_links(host: Host, deadline_seconds: float) -> Tuple[List[str], List[RocksError]]:
    """Make all planned devices after a boot; returns the names of the new devices, and errors.

    Waits until the deadline for devices of the host that are not up yet.
    """
    planned, unreadable = host.stored_links.all_links()
    made, errors = [], list(unreadable)
    deadline = Deadline(deadline_seconds)
    with links_locked(host, tuple(planned.values()), shared=True):
        for link in planned.values():
            try:
                if _ensure_in_time(host, link, deadline).changed:
                    made.append(link.device)
            except RocksError as error:
                errors.append(error)
    return made, errors


def sync_links(host: Host, request: SyncLinksRequest) -> SyncLinksReply:
    """Make the devices of these machines, remove the others of this system, and record the plan for the next boot."""
    with _locked(host, shared=False):
        # a machine may have been started after the frontend read its records: its devices stay
        active = [fact.name for fact in host.domains().facts() if fact.state in ACTIVE_STATES]
        given = {plan.name: plan.links for plan in request.plans}
        others = [name for name in dict.fromkeys((*active, *request.retained)) if name not in given]
        plans, damaged = _recalled(host, others)
        plans.update(given)
        planned = {link.device: link for links in plans.values() for link in links}
        host.stored_links.replace(plans)
        outcomes = [_synchronised(host, link) for link in planned.values()]
        removed = host.links().remove_all_but(planned)
        remaining = [link.name for link in host.links().list() if is_ours(link)]
    outcomes += damaged
    outcomes += [LinkOutcome(device, "removed") for device in removed]
    outcomes += [LinkOutcome(device, "used") for device in remaining if device not in planned]
    return SyncLinksReply(tuple(outcomes))


def _recalled(host: Host, names: Sequence[str]) -> Tuple[Dict[str, Links], List[LinkOutcome]]:
    """The plans of these machines, and an outcome for each that is damaged: it is removed, its devices in use stay."""
    plans, failed = {}, []
    for name in names:
        try:
            plans[name] = host.stored_links.recall(name)
        except RocksError as error:
            failed.append(LinkOutcome(name, "failed", as_agent_error(error)))
    return plans, failed


@contextmanager
def links_locked(host: Host, links: Sequence[LinkSpec], *, shared: bool) -> Iterator[None]:
    """Lock the links: shared from making them until the guest uses them, exclusive for their removal."""
    if not links:
        yield
        return
    with _locked(host, shared=shared):
        yield


@contextmanager
def _locked(host: Host, *, shared: bool) -> Iterator[None]:
    busy = "another command is starting or stopping guests on this host; repeat this one when it has ended"
    path = Place.LINKS_LOCK.below(host.state_folder)
    with locked(path, shared=shared, deadline_seconds=_LOCK_DEADLINE_SECONDS, busy=busy):
        yield


def _ensure_in_time(host: Host, link: LinkSpec, deadline: Deadline) -> Change:
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
        return LinkOutcome(link.device, "failed", as_agent_error(error))


def _device(document: DomainDocument, interface: GuestInterface) -> GuestDevice:
    if interface.device is None:
        raise StateError(
            f"{document.name} cannot be filtered: libvirt reports no device of its interface {interface.mac}"
        )
    return GuestDevice(interface.device, interface.is_macvtap)


def _rules(
    filters: FilterDriver, interface: GuestInterface, senders: Dict[str, SenderLimits]
) -> Tuple[Rule, ...]:
    """StateError when it has no address of its own, and the host more than a filter can hold."""
    limits = senders.get(interface.mac, _UNKNOWN)
    foreign = filters.addresses() if limits.is_shared and not limits.ipv4 else ()
    if len(foreign) > MAX_FOREIGN:
        raise StateError(
            f"the interface {interface.mac} has no recorded IPv4 address, so it may use none of its host's; they are "
            f"{len(foreign)}, and its filter holds {MAX_FOREIGN}. Record its own: rocks set host interface ip MACHINE "
            "IFACE ADDRESS"
        )
    return rules_for(Sender(interface.mac, limits.is_shared, limits.ipv4, limits.ipv6, foreign))
