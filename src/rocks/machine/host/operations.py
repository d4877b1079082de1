"""Operations on domains, each under the machine's lock and lease; different machines in parallel."""

from __future__ import annotations

import contextlib
import sys
import threading
import traceback
from dataclasses import replace
from pathlib import Path
from typing import (
    Callable,
    ContextManager,
    Dict,
    Iterator,
    List,
    Mapping,
    Optional,
    Tuple,
    Union,
)

from rocks.core.errors import IncoherentError, RocksError, StateError, UserError
from rocks.core.files import file_error
from rocks.fleet.host.change import UNCHANGED, Change
from rocks.fleet.wire.errors import AgentError, as_agent_error
from rocks.fleet.wire.facts import DocumentsFact, DocumentsRequest
from rocks.fleet.wire.links import LinkSpec
from rocks.fleet.wire.requests import (
    ChangeDomain,
    EndArrival,
    EndDeparture,
    ForgetDomain,
    FreezeGuest,
    GrowDisk,
    MakeSnapshot,
    Operation,
    OperationOutcome,
    PauseDomain,
    PerformReply,
    PerformRequest,
    RestoreSnapshot,
    ResumeDomain,
    SaveDomain,
    StartDomain,
    StopDomain,
    ThawGuest,
)
from rocks.machine.host.changes import change_domain, grow_disk
from rocks.machine.host.console_logs import name_log
from rocks.machine.host.disks import check_path
from rocks.machine.host.frozen import freeze_guest, thaw_guest
from rocks.machine.host.guest_functions import assign, check_vfs, release_vfs, vfs_locked
from rocks.machine.host.guest_keys import ensure_partition, release_partition
from rocks.machine.host.guest_links import ensure_secured, links_locked, release_links
from rocks.machine.host.host import Host
from rocks.machine.host.leases import check_name
from rocks.machine.host.libvirt.accelerator import host_emulator, probe_accelerator
from rocks.machine.host.libvirt.device_xml import changed_lease
from rocks.machine.host.libvirt.domain_xml import DomainDocument, emulated, parse_domain, with_emulator
from rocks.machine.host.libvirt.pause import ensure_paused, ensure_resumed, restart
from rocks.machine.host.libvirt.start import Prepared, ensure_running, settled
from rocks.machine.host.libvirt.stop import ensure_forgotten, ensure_stopped
from rocks.machine.host.memory import memory_promised
from rocks.machine.host.moves.arriving_volumes import check_have_content, remove_placeholders
from rocks.machine.host.observe import keep_out, observe
from rocks.machine.host.saves import check_saved_disks, forget_save, renew_identities, save_domain
from rocks.machine.host.snapshots import check_not_restoring, forget_restore, make_snapshot, restore_snapshot
from rocks.machine.host.start_disks import check_disks, ensure_disks
from rocks.machine.plan import Way, checked_disks, plan_start, plan_steps
from rocks.network.host.rules import check_link, is_of_site

_THREADS = 4
_LOCK_DEADLINE_SECONDS = 30.0


class Turn:
    """The place of a start among those of one request: memory is promised in their order, whatever takes longer."""

    def __init__(self, previous: Optional[Turn] = None) -> None:
        self._previous = previous
        self._passed = threading.Event()

    def wait(self) -> None:
        """Return when the start before is planned, or has failed; at last after the time that one waits for a lock."""
        if self._previous is not None:
            self._previous._passed.wait(_LOCK_DEADLINE_SECONDS)

    def end(self) -> None:
        """Let the next one go on."""
        self._passed.set()


def perform(host: Host, request: PerformRequest) -> PerformReply:
    """Do the operations: those of one name in order, up to four names at once. A failure stops no other operation."""
    if request.assumed_disks is not None:
        return PerformReply(tuple(plan_all(host, request)))
    fenced = keep_out(host, request.epoch, request.fences)
    outcomes: Dict[int, OperationOutcome] = {}
    queues: Dict[str, List[Tuple[int, Operation, Turn]]] = {}
    turn = None
    for number, operation in enumerate(request.operations):
        turn = Turn(turn)
        queues.setdefault(operation.name, []).append((number, operation, turn))

    def run_queue(queue: List[Tuple[int, Operation, Turn]]) -> None:
        for number, operation, turn in queue:
            outcomes[number] = _outcome(host, operation, turn)

    _run_parallel(run_queue, list(queues.values()))
    return PerformReply(tuple(outcomes[number] for number in range(len(request.operations))), fenced)


def plan_all(host: Host, request: PerformRequest) -> Iterator[OperationOutcome]:
    """What the operations would do, each alone; nothing is done. Disks of `assumed_disks` count as devices."""
    promised: Dict[str, int] = {}
    for operation in request.operations:
        try:
            steps = _steps(host, operation, request, promised)
            yield OperationOutcome(operation.name, changed=bool(steps), steps=steps)
        except Exception as error:
            yield OperationOutcome(operation.name, changed=False, error=error_of(error))


def _steps(
    host: Host, operation: Operation, request: PerformRequest, promised: Dict[str, int]
) -> Tuple[str, ...]:
    """The steps of one operation; `promised` is the memory of the starts before it, and then of this one, too."""
    name = operation.name
    if not isinstance(operation, StartDomain):
        return plan_steps(operation, host.domains().find(name))
    document = _checked(operation)
    check_not_restoring(host, name)
    host.leases.check(name, operation.token)
    observed = observe(host, [disk.path for disk in checked_disks(operation)])
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
    steps = plan_start(operation, memory_mb, observed, promised).steps
    promised[name] = memory_mb
    return steps


def error_of(error: Exception) -> AgentError:
    """The error for a reply. An exception other than RocksError is a bug; its traceback goes to standard error."""
    if isinstance(error, OSError):
        error = file_error(error) or error
    if isinstance(error, RocksError):
        return as_agent_error(error)
    traceback.print_exception(type(error), error, error.__traceback__, file=sys.stderr)
    return AgentError("bug", f"{type(error).__name__}: {error}; please report this")


def _run_parallel(
    run_queue: Callable[[List[Tuple[int, Operation, Turn]]], None],
    queues: List[List[Tuple[int, Operation, Turn]]],
) -> None:
    if len(queues) < 2:
        for queue in queues:
            run_queue(queue)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_THREADS) as pool:
        for done in [pool.submit(run_queue, queue) for queue in queues]:
            done.result()


def _outcome(host: Host, operation: Operation, turn: Turn) -> OperationOutcome:
    try:
        change = _start(host, operation, turn) if isinstance(operation, StartDomain) else _do(host, operation)
    except Exception as error:
        return OperationOutcome(operation.name, False, (), error_of(error))
    finally:
        turn.end()
    return OperationOutcome(operation.name, change.changed, change.notes)


def _do(host: Host, operation: Operation) -> Change:
    with host.leases.held(operation.name, _LOCK_DEADLINE_SECONDS):
        if isinstance(operation, ForgetDomain) or isinstance(operation, StopDomain) and operation.ends_domain:
            return _end(host, operation)
        if isinstance(operation, RestoreSnapshot):
            return restore_snapshot(host, operation)
        if isinstance(operation, EndArrival):
            from rocks.machine.host.moves.live import end_arrival  # rarely needed

            return end_arrival(host, operation)
        if isinstance(operation, EndDeparture) and not operation.resumes:
            return UNCHANGED  # this process has the lock, so the one that moved the machine has ended
        if operation.token is not None and host.domains().find(operation.name) is not None:
            host.leases.admit(operation.name, operation.token)
        if isinstance(operation, SaveDomain):
            return save_domain(host, operation)
        if isinstance(operation, ChangeDomain):
            return change_domain(
                host, operation, _checked_change(host, operation), lambda live: _secure(host, live)
            )
        if isinstance(operation, GrowDisk):
            return grow_disk(host, operation)
        if isinstance(operation, MakeSnapshot):
            return make_snapshot(host, operation)
        if isinstance(operation, FreezeGuest):
            return freeze_guest(host, operation)
        if isinstance(operation, ThawGuest):
            return thaw_guest(host, operation)
        if isinstance(operation, StopDomain):
            return restart(host.domains(), operation)
        if isinstance(operation, PauseDomain):
            return ensure_paused(host.domains(), operation)
        if isinstance(operation, EndDeparture):
            return _stay(host, operation)
        assert isinstance(operation, ResumeDomain)
        return ensure_resumed(host.domains(), operation, lambda live: _secure(host, live))


def _stay(host: Host, operation: EndDeparture) -> Change:
    name, domains = operation.name, host.domains()
    request = ResumeDomain(name, operation.token)
    change = ensure_resumed(domains, request, lambda live: _secure(host, live))
    document = domains.document(name)
    if document.token is not None and document.token < operation.token:
        domains.set_lease(name, changed_lease(document, token=operation.token))  # it failed before that
    domains.set_autostart(name, operation.autostart)
    return change


def _start(host: Host, operation: StartDomain, turn: Turn) -> Change:
    document = _checked(operation)
    held = host.leases.held(operation.name, _LOCK_DEADLINE_SECONDS)
    with held, host.lease_epoch.admitted(operation.name, operation.token):
        check_not_restoring(host, operation.name)
        host.leases.admit(operation.name, operation.token)
        turn.wait()  # before the locks that a start before this one may need
        try:
            with (
                contextlib.ExitStack() as until_started,
                links_locked(host, operation.links, shared=True),
                vfs_locked(host, operation),
            ):
                try:
                    way = until_started.enter_context(_planned(host, operation, document))
                finally:
                    turn.end()
                change = ensure_running(
                    host.domains(),
                    operation,
                    way,
                    lambda: _prepare(host, operation, document),
                    lambda live: _secure(host, renew_identities(host, live) if operation.restores else live),
                )
        except RocksError:
            _undo_links(host, operation)
            raise
        if operation.restores:
            forget_save(host, operation.name)
        return change


def _planned(host: Host, operation: StartDomain, document: DomainDocument) -> ContextManager[Way]:
    """The way in which the machine starts, and its memory promised until it has."""
    found = settled(host.domains(), operation.name)
    if operation.restores and found is not None:
        document = host.domains().document(operation.name)
    paths = [disk.path for disk in checked_disks(operation)]
    memory_mb = max(document.memory_mb, operation.memory_mb)

    def decide(promised: Mapping[str, int]) -> Way:
        return plan_start(operation, memory_mb, observe(host, paths), promised).way

    return memory_promised(host, operation.name, memory_mb, decide)


def _undo_links(host: Host, operation: StartDomain) -> None:
    """Remove the network devices of a failed start; the error of the start is the one to report."""
    with contextlib.suppress(RocksError):
        if host.domains().find(operation.name) is None:
            release_links(host, operation.name, operation.links)


def _checked_change(host: Host, operation: ChangeDomain) -> DomainDocument:
    """The parsed XML of a valid request, adapted to this host."""
    return _adapted(host, _document_of(operation))[0]


def _document_of(operation: Union[StartDomain, ChangeDomain]) -> DomainDocument:
    document = parse_domain(operation.xml)
    if document.name != check_name(operation.name) or document.token != operation.token:
        raise IncoherentError(
            f"the XML is for {document.name!r} under lease {document.token}, "
            f"the request for {operation.name} under lease {operation.token}"
        )
    return document


def _checked(operation: StartDomain) -> DomainDocument:
    """The parsed XML of a valid request; checks that need no look at the host."""
    document = _document_of(operation)
    for disk in operation.disks:
        check_path(disk.path)
    for link in operation.links:
        check_link(link)
    check_vfs(operation)
    return document


def _prepare(host: Host, operation: StartDomain, document: DomainDocument) -> Prepared:
    """Create what the domain refers to; the disks of a saved machine are as they were, or it is refused."""
    name = operation.name
    notes: Tuple[str, ...] = ()
    if operation.restores:
        check_saved_disks(host, name)
    else:
        document, notes = _adapted(host, document)
        document = ensure_disks(host, operation, document)
    host.link_plans.remember(name, tuple(link for link in operation.links if not is_of_site(link)))
    for link in operation.links:
        notes += host.links().ensure(link).notes
    if operation.restores:
        return Prepared("")
    if document.console.log_path is not None:
        name_log(name, document.console.log_path)
    notes += ensure_partition(host, name, document.host_devices, operation.partition)
    return Prepared(assign(host, operation, document).text, notes)


def _secure(host: Host, live: DomainDocument) -> Change:
    """Before the guest runs: its disks are the ones that were checked, and its interfaces are filtered."""
    check_disks(host, live)
    check_have_content(host, live)
    return ensure_secured(host, live)


def _adapted(host: Host, document: DomainDocument) -> Tuple[DomainDocument, Tuple[str, ...]]:
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
    return _adapted(host, document)[0].text


def _end(host: Host, operation: Union[StopDomain, ForgetDomain]) -> Change:
    """End the domain and its lease: no start under it, or under an older one, is admitted afterwards.

    Without a domain there is nothing to end, whichever later lease or epoch the host has seen: no start is in progress,
    since the caller holds the lock of the machine.
    """
    name = operation.name
    if operation.token is not None and host.domains().find(name) is not None:
        host.leases.check_end(name, operation.token)

    def end_lease(token: int) -> None:
        host.leases.end(name, token)

    disks: Tuple[str, ...] = ()
    with contextlib.suppress(StateError):  # there is no domain, or it ends by itself just now
        disks = host.domains().document(name).disks
    if isinstance(operation, ForgetDomain):
        forget_restore(host, name)
        change = ensure_forgotten(host.domains(), operation, end_lease)
    else:
        change = ensure_stopped(host.domains(), operation, end_lease)
    forget_save(host, name)
    with contextlib.suppress(RocksError):  # image storage uses or replaces one that stays
        remove_placeholders(host, disks)
    return _with_devices_released(host, name, change, getattr(operation, "links", ()))


def _with_devices_released(host: Host, name: str, change: Change, links: Tuple[LinkSpec, ...] = ()) -> Change:
    """Release the devices of an ended domain; returns both changes as one."""
    removed = release_links(host, name, links)
    notes = release_partition(host, name) + release_vfs(host, name)
    return Change(change.changed or removed.changed, change.notes + removed.notes + notes)
