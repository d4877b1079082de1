"""Deeds on domains: each under the machine's lock and lease, those of different machines side by side."""

from __future__ import annotations

import contextlib
import sys
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Tuple

from rocks.agent.functions import check_functions, functions_held, give, take_back_functions
from rocks.agent.host import Host
from rocks.agent.links import links_held, release_links, secured
from rocks.agent.partitions import give_partition, take_back
from rocks.devices.accelerator import host_emulator, probe_accelerator
from rocks.devices.change import Change
from rocks.devices.disks import check_path, ensure_disk
from rocks.devices.domain_pause import ensure_paused, ensure_resumed, restart
from rocks.devices.domain_start import Prepared, ensure_running
from rocks.devices.domain_stop import ensure_forgotten, ensure_stopped
from rocks.devices.domain_xml import DomainDocument, emulated, parse_domain, with_emulator
from rocks.devices.leases import check_name
from rocks.devices.link_rules import check_link, is_of_site
from rocks.errors import IncoherentError, RocksError
from rocks.wire.agent import (
    AgentError,
    Deed,
    DeedOutcome,
    LinkWanted,
    PauseDomain,
    PerformReply,
    PerformRequest,
    ResumeDomain,
    StartDomain,
    StopDomain,
)

_SIDE_BY_SIDE = 4
_LOCK_DEADLINE_SECONDS = 30.0


def perform(host: Host, request: PerformRequest) -> PerformReply:
    """Do the deeds: those of one name in order, up to four names at once. No error of one stops another."""
    outcomes: Dict[int, DeedOutcome] = {}
    lanes: Dict[str, List[Tuple[int, Deed]]] = {}
    for number, deed in enumerate(request.deeds):
        lanes.setdefault(deed.name, []).append((number, deed))

    def run_lane(lane: List[Tuple[int, Deed]]) -> None:
        for number, deed in lane:
            outcomes[number] = _outcome(host, deed)

    _side_by_side(run_lane, list(lanes.values()))
    return PerformReply(tuple(outcomes[number] for number in range(len(request.deeds))))


def error_of(error: Exception) -> AgentError:
    """An error as the reply carries it; what is no RocksError is a fault of ours and is told on standard error."""
    if isinstance(error, RocksError):
        return AgentError(error.family, str(error))
    traceback.print_exception(type(error), error, error.__traceback__, file=sys.stderr)
    return AgentError("bug", f"{type(error).__name__}: {error}; please report this")


def _side_by_side(
    run_lane: Callable[[List[Tuple[int, Deed]]], None], lanes: List[List[Tuple[int, Deed]]]
) -> None:
    if len(lanes) < 2:
        for lane in lanes:
            run_lane(lane)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        for done in [pool.submit(run_lane, lane) for lane in lanes]:
            done.result()


def _outcome(host: Host, deed: Deed) -> DeedOutcome:
    try:
        change = _do(host, deed)
    except Exception as error:
        return DeedOutcome(deed.name, False, (), error_of(error))
    return DeedOutcome(deed.name, change.changed, change.notes)


def _do(host: Host, deed: Deed) -> Change:
    if isinstance(deed, StartDomain):
        return _start(host, deed)
    with _held(host, deed):
        if isinstance(deed, StopDomain):
            return _stop(host, deed)
        if isinstance(deed, PauseDomain):
            return ensure_paused(host.domains(), deed)
        if isinstance(deed, ResumeDomain):
            return ensure_resumed(host.domains(), deed, lambda document: secured(host, document))
        return _with_all_given_back(host, deed.name, ensure_forgotten(host.domains(), deed))


@contextmanager
def _held(host: Host, deed: Deed) -> Iterator[None]:
    with host.leases.held(deed.name, _LOCK_DEADLINE_SECONDS):
        if deed.token is not None:
            host.leases.admit(deed.name, deed.token)
        yield


def _start(host: Host, deed: StartDomain) -> Change:
    document = _checked(deed)
    with _held(host, deed):
        try:
            with links_held(host, deed.links, shared=True), functions_held(host, deed):
                return ensure_running(
                    host.domains(),
                    deed,
                    lambda: _prepare(host, deed, document),
                    lambda live: secured(host, live),
                )
        except RocksError:
            _undo_links(host, deed)
            raise


def _undo_links(host: Host, deed: StartDomain) -> None:
    """Nothing of a start that failed stays; the error that ended it is the one to tell."""
    with contextlib.suppress(RocksError):
        if host.domains().find(deed.name) is None:
            release_links(host, deed.name, deed.links)


def _checked(deed: StartDomain) -> DomainDocument:
    """All that can be refused without looking at the host."""
    document = parse_domain(deed.xml)
    if document.name != check_name(deed.name) or document.token != deed.token:
        raise IncoherentError(
            f"the XML is of {document.name!r} under lease {document.token}, "
            f"the request of {deed.name} under lease {deed.token}"
        )
    for disk in deed.disks:
        check_path(disk.path)
    for link in deed.links:
        check_link(link)
    check_functions(deed)
    return document


def _prepare(host: Host, deed: StartDomain, document: DomainDocument) -> Prepared:
    fitted, notes = _fitted(host, document)
    for disk in deed.disks:
        ensure_disk(disk)
    host.link_plans.remember(deed.name, tuple(link for link in deed.links if not is_of_site(link)))
    for link in deed.links:
        notes += host.links().ensure(link).notes
    notes += give_partition(host, deed.name, document.host_devices, deed.partition)
    return Prepared(give(host, deed, fitted).text, notes)


def _fitted(host: Host, document: DomainDocument) -> Tuple[DomainDocument, Tuple[str, ...]]:
    """The XML for the QEMU that this host has, emulated where KVM does not work."""
    if document.emulator is not None and not Path(document.emulator).exists():
        document = with_emulator(document, host_emulator())
    if not document.wants_kvm:
        return document, ()
    probe = probe_accelerator(host.state_folder)
    if probe.accelerator == "kvm":
        return document, ()
    return emulated(document), (f"KVM does not work on this host ({probe.reason}): started under emulation",)


def _stop(host: Host, deed: StopDomain) -> Change:
    if deed.action in ("reset", "reboot"):
        return restart(host.domains(), deed)
    return _with_all_given_back(host, deed.name, ensure_stopped(host.domains(), deed), deed.links)


def _with_all_given_back(host: Host, name: str, change: Change, links: Tuple[LinkWanted, ...] = ()) -> Change:
    """The change of ending a domain, and what became of what it had on the host."""
    removed = release_links(host, name, links)
    notes = take_back(host, name) + take_back_functions(host, name)
    return Change(change.changed or removed.changed, change.notes + removed.notes + notes)
