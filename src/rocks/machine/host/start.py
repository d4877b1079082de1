"""Start a machine on this host, as it is planned under its lock and lease."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ContextManager, Dict, Mapping, Optional, Tuple, Union

from rocks.core.errors import IncoherentError, RocksError, StateError, UserError
from rocks.fleet.host.change import Change
from rocks.fleet.wire.facts import DocumentsFact, DocumentsRequest, HostFacts
from rocks.fleet.wire.requests import ChangeDomain, PerformRequest, StartDomain
from rocks.leases.host.leases import check_name
from rocks.machine.host.consoles import begin_log
from rocks.machine.host.disks import (
    check_have_content,
    check_is_own,
    check_path,
    ensure_disk,
    is_same,
    smaller_image_notes,
    write_seed,
)
from rocks.machine.host.facts import RequestedStarts, memory_promised, observe
from rocks.machine.host.guest_network import (
    assign,
    ensure_secured,
    links_locked,
    release_links,
    release_vfs,
    vfs_locked,
)
from rocks.machine.host.guest_partitions import ensure_partition, release_partition
from rocks.machine.host.host import Host
from rocks.machine.host.images import check_unused
from rocks.machine.host.libvirt.accelerator import host_emulator, probe_accelerator
from rocks.machine.host.libvirt.domain_xml import (
    DiskIdentity,
    DomainDocument,
    emulated,
    parse_domain,
    with_disk_identities,
    with_emulator,
)
from rocks.machine.host.libvirt.power import Prepared, ensure_running, settled
from rocks.machine.host.saves import check_saved_disks, forget_save, renew_identities
from rocks.machine.host.snapshots import check_not_restoring
from rocks.machine.limits import LOCK_SECONDS
from rocks.machine.plans import Way, disks_to_check, plan_start
from rocks.network.host.rules import check_link, is_of_site
from rocks.network.sriov.host.rules import check_vf_spec


class Turn:
    """The place of a start among those of one request: memory is promised in their order, whatever takes longer."""

    def __init__(self, previous: Optional[Turn] = None) -> None:
        self._previous = previous
        self._passed = threading.Event()
        self.starts: RequestedStarts = previous.starts if previous else RequestedStarts()

    def wait(self) -> None:
        """Return when the start before is planned, or has failed; at last after the time that one waits for a lock."""
        if self._previous is not None:
            self._previous._passed.wait(LOCK_SECONDS)

    def end(self) -> None:
        """Let the next one go on."""
        self._passed.set()


def start_domain(host: Host, operation: StartDomain, turn: Turn) -> Change:
    document = _checked(operation)
    held = host.leases.held(operation.name, LOCK_SECONDS)
    with held, host.lease_epoch.admitted(operation.name, operation.token):
        check_not_restoring(host, document.uuid, operation.name)
        host.leases.admit(operation.name, operation.token)
        turn.wait()
        try:
            with contextlib.ExitStack() as until_started:
                try:
                    way = until_started.enter_context(_planned(host, operation, document, turn.starts))
                finally:
                    turn.end()
                document, notes = _with_disks(host, operation, document, way)
                # after the disks: a copy may take minutes, and other starts and stops wait for these locks
                until_started.enter_context(links_locked(host, operation.links, shared=True))
                until_started.enter_context(vfs_locked(host, operation))
                change = ensure_running(
                    host.domains(),
                    operation,
                    way,
                    lambda: _prepare(host, operation, document, notes),
                    lambda live: secure(host, renew_identities(host, live) if operation.restores else live),
                )
        except RocksError:
            _undo_devices(host, operation)
            raise
        if operation.restores:
            forget_save(host, operation.name)
            return Change(change.changed, change.notes + _lacking_disks(host, operation))
        return change


def _planned(
    host: Host, operation: StartDomain, document: DomainDocument, starts: RequestedStarts
) -> ContextManager[Way]:
    """The way in which the machine starts, and its memory promised until it has."""
    name = operation.name
    found = settled(host.domains(), name)
    if operation.restores and found is not None:
        document = host.domains().document(name)
    paths = [disk.path for disk in disks_to_check(operation)]
    memory_mb = max(document.memory_mb, operation.memory_mb)

    def plan(observed: HostFacts, promised: Mapping[str, int]) -> Way:
        return plan_start(operation, memory_mb, observed, promised).way

    def decide(promised: Mapping[str, int]) -> Way:
        return starts.decide(host, name, paths, promised, plan)

    return memory_promised(host, name, memory_mb, decide, starts)


def _lacking_disks(host: Host, operation: StartDomain) -> Tuple[str, ...]:
    """Notes about the disks of its record that a restored guest does not have."""
    name, present = operation.name, host.domains().document(operation.name).disks_and_cds
    return tuple(
        f"{name} runs without its disk {disk.path}, as it was saved: rocks remove host vm disk {name} "
        f"{disk.target.partition(',')[0]} removes it from its record, and the start after a stop attaches it"
        for disk in operation.disks
        if not disk.is_cdrom and disk.path not in present
    )


def _undo_devices(host: Host, operation: StartDomain) -> None:
    """Release the network devices, VFs and key of a failed start, and of a killed one before it.

    The error of the start is the one to report.
    """
    with contextlib.suppress(RocksError):
        if host.domains().find(operation.name) is None:
            release_links(host, operation.name, operation.links)
            release_partition(host, operation.name)
            release_vfs(host, operation.name)


def document_of(operation: Union[StartDomain, ChangeDomain]) -> DomainDocument:
    document = parse_domain(operation.xml)
    if document.name != check_name(operation.name) or document.token != operation.token:
        raise IncoherentError(
            f"the XML is for {document.name!r} under lease {document.token}, "
            f"the request for {operation.name} under lease {operation.token}"
        )
    return document


def _checked(operation: StartDomain) -> DomainDocument:
    """The parsed XML of a valid request; checks that need no look at the host."""
    document = document_of(operation)
    for disk in operation.disks:
        check_path(disk.path)
    for link in operation.links:
        check_link(link)
    for vf in operation.vfs:
        check_vf_spec(vf)
    return document


def _with_disks(
    host: Host, operation: StartDomain, document: DomainDocument, way: Way
) -> Tuple[DomainDocument, Tuple[str, ...]]:
    """Make or check the disks; the document as adapted to this host, with their identities in the lease, and notes.

    The disks of a saved machine are as they were, or it is refused. Other errors as `ensure_disk`.
    """
    if way is Way.RESTORE:
        check_saved_disks(host, operation.name)
    if way is not Way.START:
        return document, ()
    document, notes = adapted(host, document)
    identities = []
    for disk in operation.disks:
        made, identity = ensure_disk(disk, host.image_owners, partial(check_unused, host))
        identities.append(identity)
        notes += () if made.changed else smaller_image_notes(operation.name, disk)
    if operation.seed is not None:
        seed = operation.seed
        identities.append(DiskIdentity(seed.path, *write_seed(seed, host.image_owners), seed.machine))
    return with_disk_identities(document, identities) if identities else document, notes


def _prepare(
    host: Host, operation: StartDomain, document: DomainDocument, notes: Tuple[str, ...]
) -> Prepared:
    """Create what the domain refers to, but its disks."""
    name = operation.name
    host.stored_links.remember(name, tuple(link for link in operation.links if not is_of_site(link)))
    for link in operation.links:
        notes += host.links().ensure(link).notes
    if operation.restores:
        return Prepared("")
    if document.console.log_path is not None:
        begin_log(name, document.console.log_path)
    notes += ensure_partition(host, name, document.host_devices, operation.partition)
    return Prepared(assign(host, operation, document).text, notes)


def secure(host: Host, live: DomainDocument) -> Change:
    """Before the guest runs: its disks are the ones that were checked, and its interfaces are filtered."""
    _check_disks(host, live)
    check_have_content(host, live)
    return ensure_secured(host, live)


def _check_disks(host: Host, live: DomainDocument) -> None:
    """StateError when a path leads to another file than it did before the domain was defined."""
    for disk in live.disk_identities:
        if not is_same(disk, host.image_owners):
            raise StateError(
                f"the disk {disk.path} of {live.name} was replaced while the machine was starting; try again"
            )


def adapted(host: Host, document: DomainDocument) -> Tuple[DomainDocument, Tuple[str, ...]]:
    """The XML for the QEMU of this host, with emulation where KVM does not work."""
    if document.emulator is not None and not Path(document.emulator).exists():
        document = with_emulator(document, host_emulator())
    if not document.requires_kvm:
        return document, ()
    probe = probe_accelerator(host.state_folder)
    if probe.accelerator == "kvm":
        return document, ()
    return emulated(document), (f"KVM does not work on this host ({probe.reason}): started under emulation",)


def adapt_documents(host: Host, request: DocumentsRequest) -> DocumentsFact:
    """The documents as a start on this host would pass them to libvirt, as far as nothing must be made for that."""
    return DocumentsFact(tuple(_adapted_text(host, text) for text in request.documents))


def _adapted_text(host: Host, text: str) -> str:
    try:
        document = parse_domain(text)
    except UserError:
        return text
    return adapted(host, document)[0].text


def start_steps(
    host: Host, operation: StartDomain, request: PerformRequest, promised: Dict[str, int]
) -> Tuple[str, ...]:
    """The steps of a start; `promised` is the memory of the starts before it, and then of this one, too."""
    name = operation.name
    document = _checked(operation)
    check_not_restoring(host, document.uuid, name)
    host.leases.check(name, operation.token)
    observed = observe(host, [disk.path for disk in disks_to_check(operation)])
    below = {fence.name: fence.below_token for fence in request.fences}
    observed = replace(
        observed,
        domains=tuple(
            domain
            for domain in observed.domains
            if domain.token is None or domain.token >= below.get(domain.name, 0)
        ),
        disks=tuple(
            replace(fact, exists=True, is_block=True) if fact.path in (request.assumed_disks or ()) else fact
            for fact in observed.disks
        ),
    )
    if operation.restores and host.domains().find(name) is not None:
        document = host.domains().document(name)
    memory_mb = max(document.memory_mb, operation.memory_mb)
    plan = plan_start(operation, memory_mb, observed, promised)
    for disk in operation.disks if plan.way is Way.START else ():
        if disk.path not in (request.assumed_disks or ()):
            check_is_own(disk, host.image_owners)
    promised[name] = memory_mb
    return plan.steps
