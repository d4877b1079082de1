"""Network devices, packet filters and virtual functions of this host's guests."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import RocksError, StateError
from rocks.fleet.host.change import UNCHANGED, Change
from rocks.fleet.host.state_folder import Place, locked
from rocks.fleet.wire.errors import as_agent_error
from rocks.fleet.wire.facts import ACTIVE_STATES, AdapterFacts, AdaptersRequest
from rocks.fleet.wire.requests import (
    DropCount,
    InterfaceFact,
    LinkOutcome,
    LinkSpec,
    NetworkFacts,
    NetworkRequest,
    StartDomain,
    SyncLinksReply,
    SyncLinksRequest,
)
from rocks.machine.host.host import Host
from rocks.machine.host.libvirt.domain_xml import (
    DomainDocument,
    GuestInterface,
    SenderLimits,
    vf_addresses,
    with_vf_addresses,
)
from rocks.machine.host.libvirt.driver import is_active
from rocks.network.host.packet_filter import Drops, FilterDriver, GuestDevice, Rule, Sender, rules_for
from rocks.network.host.rules import Link, is_ours
from rocks.network.host.stored_links import Links
from rocks.network.sriov.host.guests import (
    assign_vfs,
    boot_id,
    ensure_count,
    restore,
    take_back,
    vf_counts_locked,
)

# How the guests of this host are connected, according to libvirt and the kernel.


def read_network(host: Host, request: NetworkRequest) -> NetworkFacts:
    """All interfaces of the running domains of this system; an interface unknown to the kernel is omitted."""
    documents = _documents(host)
    connected = [
        (document, interface, GuestDevice(interface.device, interface.is_macvtap))
        for document in documents
        for interface in document.interfaces
        if interface.device is not None
    ]
    if not connected and not any(vf_addresses(document) for document in documents):
        return NetworkFacts(())
    links = {link.name: link for link in host.links().list()}
    drops = host.filters().read([device for _, _, device in connected]) if connected else {}
    facts = [_fact(*found, links, drops.get(found[2].name, ())) for found in connected]
    facts += [fact for document in documents for fact in _vfs(host, document, links)]
    return NetworkFacts(tuple(fact for fact in facts if fact is not None))


def _documents(host: Host) -> List[DomainDocument]:
    documents = []
    for fact in host.domains().facts():
        if fact.state in ACTIVE_STATES and fact.token is not None:
            try:
                documents.append(host.domains().document(fact.name))
            except StateError:
                continue  # the domain has ended since
    return documents


def _fact(
    document: DomainDocument,
    interface: GuestInterface,
    device: GuestDevice,
    links: Dict[str, Link],
    drops: Drops,
) -> Optional[InterfaceFact]:
    link = links.get(device.name)
    if link is None:
        return None
    below = links.get(interface.source or "")
    # a frame from the guest is sent by a macvtap, but received by a tap
    received, sent = link.received_bytes, link.sent_bytes
    return InterfaceFact(
        domain=document.name,
        mac=interface.mac,
        device=device.name,
        source=interface.source or "",
        vlan=below.vlan if below is not None else None,
        is_up=link.is_up and (below is None or below.is_up),
        has_carrier=link.has_carrier and (below is None or below.has_carrier),
        received_bytes=received if device.is_macvtap else sent,
        sent_bytes=sent if device.is_macvtap else received,
        filter="on" if drops else "missing" if document.is_filtered else "off",
        drops=tuple(DropCount(reason, frames) for reason, frames in drops),
    )


def _vfs(host: Host, document: DomainDocument, links: Dict[str, Link]) -> Iterator[InterfaceFact]:
    """The virtual functions of the machine, from the host's record."""
    addresses = vf_addresses(document)
    try:
        assigned = host.assigned_vfs.read(document.name) if addresses else None
    except RocksError:
        return  # the next start or stop of the machine reports the damaged record
    for vf in assigned.functions if assigned is not None else ():
        address, adapter = addresses.get(vf.mac.lower()), links.get(vf.device)
        if address is not None:
            yield InterfaceFact(
                domain=document.name,
                mac=vf.mac,
                device=address,
                source=vf.device,
                vlan=vf.vlan or None,
                is_up=adapter is not None and adapter.is_up,
                has_carrier=adapter is not None and adapter.has_carrier,
                received_bytes=None,
                sent_bytes=None,
                filter="adapter" if vf.checks_source else "off",
                drops=(),
            )


# Network devices and packet filters of guests: made, released, restored after a reboot, synchronised with the plan.

_LOCK_DEADLINE_SECONDS = 20.0
_POLL_SECONDS = 0.5
_DEVICES = Path("/sys/class/net")
_UNKNOWN = SenderLimits()
"""For an interface that a plugin added: only its MAC address is known."""


def ensure_secured(host: Host, document: DomainDocument) -> Change:
    """Filter each interface with a host device where the domain's live XML requires a filter; elsewhere remove it.

    A device may have the name, and so the rules, of one that is gone.
    StateError for an interface without a device; other errors as `FilterDriver.ensure`.
    """
    if not document.interfaces:
        return UNCHANGED
    filters, senders = host.filters(), document.senders
    busy = "the packet filters of many guests are set on this host just now; try again"
    lock = Place.FILTERS_LOCK.below(host.state_folder)
    with locked(lock, shared=False, deadline_seconds=_LOCK_DEADLINE_SECONDS, busy=busy):
        changes = [
            filters.ensure(
                _device(document, one), _rules(filters, one, senders) if document.is_filtered else ()
            )
            for one in document.interfaces
            if document.is_filtered or one.device is not None
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


def restore_filters(host: Host) -> Tuple[List[str], List[RocksError]]:
    """Set the filters of all running guests again, as after `nft flush ruleset`; names of the guests, and errors."""
    restored, errors = [], []
    for document in _documents(host):
        try:
            if ensure_secured(host, document).changed:
                restored.append(document.name)
        except RocksError as error:
            errors.append(error)
    return restored, errors


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
    limits = senders.get(interface.mac, _UNKNOWN)
    foreign = filters.addresses() if limits.is_shared and not limits.ipv4 else ()
    return rules_for(Sender(interface.mac, limits.is_shared, limits.ipv4, limits.ipv6, foreign))


# Virtual functions of domains: assigned before the start, released after the end.


@contextmanager
def vfs_locked(host: Host, operation: StartDomain) -> Iterator[None]:
    """Lock the number of VFs from making them until the guest uses them; a failed start releases its VFs."""
    if not operation.vfs and host.assigned_vfs.read(operation.name) is None:
        yield  # without the netlink library, which takes time to load
        return
    with vf_counts_locked(host.vfs(), host.state_folder, operation.vfs):
        try:
            yield
        except RocksError:
            release_vfs(host, operation.name)
            raise


def assign(host: Host, operation: StartDomain, document: DomainDocument) -> DomainDocument:
    """Configure the VFs; returns the document with their addresses. The caller holds `vfs_locked`."""
    if not operation.vfs and host.assigned_vfs.read(operation.name) is None:
        return with_vf_addresses(document, {})
    addresses = assign_vfs(host.vfs(), host.assigned_vfs, operation.name, operation.token, operation.vfs)
    return with_vf_addresses(document, addresses)


def release_vfs(host: Host, name: str) -> Tuple[str, ...]:
    """Release the VFs of a machine that does not run; returns failures as notes.

    The caller holds the machine's lock. A running machine keeps its VFs.
    """
    try:
        if host.assigned_vfs.read(name) is None or is_active(host.domains(), name):
            return ()
        return take_back(host.vfs(), host.assigned_vfs, name)
    except RocksError as error:
        return (f"the virtual functions of {name} were not released: {error}",)


def release_older_vfs(host: Host, name: str, below_token: int) -> bool:
    """As `release_vfs`, for leases below the token; returns whether no VF of such a lease remains."""
    assigned = host.assigned_vfs.read(name)
    return assigned is None or assigned.token >= below_token or not release_vfs(host, name)


def restore_vfs(host: Host, document: DomainDocument) -> None:
    """Configure the VFs of a domain that is about to start, unless done since this boot; does not call libvirt.

    StateError when the domain's XML names other VFs than the host has now.
    """
    assigned = host.assigned_vfs.read(document.name)
    expected = vf_addresses(document)
    if assigned is None or assigned.token != document.token or assigned.boot == boot_id() or not expected:
        return
    found = restore(host.vfs(), host.assigned_vfs, host.state_folder, document.name, assigned)
    if any(expected.get(mac) != address for mac, address in found.items()):
        raise StateError(
            f"the virtual functions of {document.name} have other addresses on this host than before; "
            f"run `rocks start host vm {document.name}` on the frontend"
        )


def read_adapters(host: Host, request: AdaptersRequest) -> AdapterFacts:
    """The adapters, after VFs have been made where the request needs more than there are."""
    driver = host.vfs()
    for spec in request.adapters:
        if spec.count:
            ensure_count(driver, host.state_folder, spec.device, spec.count)
    return AdapterFacts(tuple(driver.read(spec.device) for spec in request.adapters))
