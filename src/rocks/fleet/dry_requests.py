"""What hosts are asked in a dry run: the question in a request is asked, its change is printed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from rocks.core import dry_run
from rocks.core.errors import BugError, StateError
from rocks.fleet.wire.consoles import (
    ConsoleLogRequest,
    RemoveConsoleLogsRequest,
    RemovedLogs,
    ScreenRequest,
)
from rocks.fleet.wire.disk_files import GiveImageRequest, ImageChange, ImagesRequest, RemoveImageRequest
from rocks.fleet.wire.errors import as_agent_error
from rocks.fleet.wire.facts import (
    AdapterFacts,
    AdapterSpec,
    AdaptersRequest,
    ConsoleRequest,
    DiskFact,
    DiskPlace,
    DocumentsRequest,
    FactsRequest,
    HostFacts,
    ProbeRequest,
)
from rocks.fleet.wire.infiniband import InfinibandRequest
from rocks.fleet.wire.network import NetworkRequest, SyncLinksReply, SyncLinksRequest
from rocks.fleet.wire.requests import (
    ChangeDomain,
    EndArrival,
    EndDeparture,
    ForgetDomain,
    FreezeGuest,
    GrowDisk,
    MakeSnapshot,
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

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rocks.fleet.wire.facts import DomainFact
    from rocks.fleet.wire.request import Reply, Request
    from rocks.fleet.wire.requests import Operation

    Ask = Callable[[Request[Any]], Any]

_OFF = ("shutoff", "crashed")
_GUEST_RUNS = ("running", "blocked")
_STOPS = {
    "poweroff": "power off {name}",
    "shutdown": "request {name} to shut down, and power it off after {seconds} s",
    "reset": "press the reset button of {name}",
    "reboot": "request {name} to restart",
}


def ask_in_dry_run(host: str, request: Request[Reply], ask: Callable[[Request[Any]], Any]) -> Reply:
    """The reply to a request, as if its change had succeeded; `ask` sends the host a question.

    Raises what `ask` raises, and UnknownReplyError where what follows depends on the change.
    """
    answer = ANSWERS.get(type(request))
    if answer is None:
        raise BugError(f"a dry run does not know the request {type(request).__name__}; please report this")
    return cast("Reply", answer(host, request, ask))


def _pass_on(host: str, request: Any, ask: Ask) -> Any:
    return ask(request)


def _facts(host: str, request: FactsRequest, ask: Ask) -> HostFacts:
    """The facts as they would be after the fences, and after the leases have ended."""
    found: HostFacts = ask(replace(request, fences=(), lease_ends=(), epoch=0))
    domains = {domain.name: domain for domain in found.domains}
    fenced = []
    for fence in request.fences:
        domain = domains.get(fence.name)
        if domain is not None and domain.token is None:
            continue  # this system did not start it: the fence does not hold
        fenced.append(fence.name)
        if domain is not None and domain.token is not None and domain.token < fence.below_token:
            dry_run.would(host, f"destroy {fence.name}, whose lease another host has taken over")
            del domains[fence.name]
        dry_run.would(host, f"refuse starts of {fence.name} under leases below {fence.below_token}")
    ended = tuple(end.name for end in request.lease_ends if not _has_state(domains.get(end.name)))
    for name in ended:
        dry_run.would(host, f"end the lease of {name}, which does not run there")
    if request.epoch > found.epoch:
        dry_run.would(host, f"refuse starts under leases of epochs before {request.epoch}")
    return replace(
        found,
        domains=tuple(domains.values()),
        fenced=tuple(fenced),
        ended=ended,
        epoch=max(found.epoch, request.epoch),
        disks=tuple(_as_mapped(host, disk) for disk in found.disks),
    )


def _as_mapped(host: str, disk: DiskFact) -> DiskFact:
    """A device that the dry run takes as mapped exists for what follows."""
    return replace(disk, exists=True, is_block=True) if dry_run.is_assumed(host, disk.path) else disk


def _is_active(domain: DomainFact | None) -> bool:
    return domain is not None and domain.state not in _OFF


def _has_state(domain: DomainFact | None) -> bool:
    return domain is not None and (_is_active(domain) or domain.has_managed_save)


def _perform(host: str, request: PerformRequest, ask: Ask) -> PerformReply:
    disks = [disk.path for one in request.operations if isinstance(one, StartDomain) for disk in one.disks]
    found: HostFacts = ask(FactsRequest(disks=tuple(map(DiskPlace, dict.fromkeys(disks)))))
    domains = {domain.name: domain for domain in found.domains}
    present = {disk.path for disk in found.disks if disk.exists}
    outcomes = []
    for operation in request.operations:
        try:
            steps = _steps(operation, domains, present)
        except StateError as error:
            outcomes.append(OperationOutcome(operation.name, changed=False, error=as_agent_error(error)))
            continue
        for step in steps:
            dry_run.would(host, step)
        outcomes.append(OperationOutcome(operation.name, changed=bool(steps)))
    return PerformReply(tuple(outcomes))


def _steps(operation: Operation, domains: Mapping[str, DomainFact], present: set[str]) -> list[str]:
    """What the host would do; nothing for a domain that is as wanted already.

    StateError for an operation that needs a running guest, when it is not running.
    """
    name, domain = operation.name, domains.get(operation.name)
    if isinstance(operation, StartDomain) and operation.restores:
        return [f"continue {name} from its saved memory"]
    if isinstance(operation, StartDomain):
        made = [
            f"make the disk {disk.path} ({disk.format}, {disk.size_gb} GB"
            + (f", a copy of image {disk.base.digest[:12]})" if disk.base else ")")
            for disk in operation.disks
            if disk.path not in present and not (disk.is_mapped or disk.is_cdrom or disk.is_block)
        ]
        seed = [f"write the seed {operation.seed.path}"] if operation.seed else []
        return [*made, *seed, f"start {name}"]
    if isinstance(operation, StopDomain):
        if not operation.ends_domain:
            _check_runs(name, domain)
        if domain is None:
            return []
        if domain.has_managed_save and not _is_active(domain):
            if not operation.discards_save:
                raise StateError(
                    f"{name} is saved on this host; saved=remove discards what its guest had in memory"
                )
            return [f"discard the saved memory of {name}, and remove its definition"]
        text = _STOPS[operation.action].format(name=name, seconds=operation.deadline_seconds)
        return [text if _is_active(domain) else f"remove the definition of {name}"]
    if isinstance(operation, EndArrival):
        return _end_arrival_steps(operation, domain)
    if isinstance(operation, EndDeparture) and not operation.resumes:
        return []  # it waits only
    if isinstance(operation, (PauseDomain, ResumeDomain, EndDeparture)):
        if domain is None or domain.state != "paused":
            _check_runs(name, domain)
        is_paused = domain is not None and domain.state == "paused"
        if isinstance(operation, PauseDomain):
            return [] if is_paused else [f"pause {name}"]
        return [f"resume {name}"] if is_paused else []
    if isinstance(operation, SaveDomain):
        if not _has_state(domain):
            raise StateError(f"{name} is not running on this host, so there is nothing to save")
        return [f"save the memory of {name}, and stop it"] if _is_active(domain) else []
    if isinstance(operation, ChangeDomain):
        _check_runs(name, domain)
        return _change_steps(operation)
    if isinstance(operation, GrowDisk):
        return [f"grow {operation.disk.path} of {name} to {operation.disk.size_gb} GB"]
    if isinstance(operation, MakeSnapshot):
        return [
            f"copy {disk.path} to {copy}"
            for disk, copy in zip(operation.disks, operation.copies, strict=True)
        ]
    if isinstance(operation, RestoreSnapshot):
        pairs = zip(operation.disks, operation.copies, strict=True)
        return [f"replace {disk.path} by {copy}" for disk, copy in pairs]
    if isinstance(operation, FreezeGuest):
        _check_runs(name, domain)
        return [f"freeze the file systems of {name}, if its guest agent answers"]
    if isinstance(operation, ThawGuest):
        return ["thaw them, if they are frozen"]
    assert isinstance(operation, ForgetDomain)
    return [] if domain is None else [f"power off {name} and remove its definition"]


def _end_arrival_steps(operation: EndArrival, domain: DomainFact | None) -> list[str]:
    """Nothing for a domain that has arrived: it is kept."""
    name = operation.name
    if domain is None or domain.token != operation.token:
        return [f"end the migration of {name} to this host"]
    if domain.state in _GUEST_RUNS or domain.persistent:
        return []
    return [f"end the migration of {name} to this host, and destroy it here"]


def _change_steps(operation: ChangeDomain) -> list[str]:
    name = operation.name
    aspects = {"CPUs": operation.cpus, "memory": operation.memory, "interfaces": operation.interfaces}
    asked = [aspect for aspect, is_asked in aspects.items() if is_asked]
    compared = (
        [f"give the running {name} its recorded {', '.join(asked)}, as far as it can change"] if asked else []
    )
    return [
        *compared,
        *(f"detach {path} from {name}" for path in operation.detached),
        *(f"attach {disk.path} to {name}" for disk in operation.disks),
    ]


def _check_runs(name: str, domain: DomainFact | None) -> None:
    state = "absent" if domain is None else domain.state
    if state not in _GUEST_RUNS:
        raise StateError(f"{name} is not running on this host: it is {state}")


def _adapters(host: str, request: AdaptersRequest, ask: Ask) -> AdapterFacts:
    found: AdapterFacts = ask(AdaptersRequest(tuple(AdapterSpec(one.device) for one in request.adapters)))
    present = {adapter.device: len(adapter.vfs) for adapter in found.adapters}
    missing = [one for one in request.adapters if one.count and not present.get(one.device)]
    for one in missing:
        dry_run.would(host, f"make {one.count} virtual functions of {one.device}")
    if missing:
        raise dry_run.unknown(host, "these virtual functions")
    return found


def _infiniband(host: str, request: InfinibandRequest, ask: Ask) -> Any:
    if request.tried_vf:
        dry_run.would(host, f"write the virtual function {request.tried_vf}, read it back, and restore it")
    return ask(InfinibandRequest())


def _sync_links(host: str, request: SyncLinksRequest, ask: Ask) -> SyncLinksReply:
    devices = sorted({link.device for plan in request.plans for link in plan.links})
    planned = f"exactly {', '.join(devices)}" if devices else "none"
    dry_run.would(host, f"make or remove network devices of virtual machines, until there are {planned}")
    return SyncLinksReply(())


def _give_image(host: str, request: GiveImageRequest, ask: Ask) -> ImageChange:
    dry_run.would(host, f"give the image {request.path} to the machine {request.machine or '(nobody)'}")
    return ImageChange(changed=True)


def _remove_image(host: str, request: RemoveImageRequest, ask: Ask) -> ImageChange:
    verb = "erase" if request.is_block else "remove"
    dry_run.would(host, f"{verb} the image {request.path}")
    return ImageChange(changed=True)


def _remove_console_logs(host: str, request: RemoveConsoleLogsRequest, ask: Ask) -> RemovedLogs:
    dry_run.would(host, f"remove the logs of the consoles of {', '.join(request.machines)}")
    return RemovedLogs(0)


ANSWERS: Mapping[type, Callable[[str, Any, Ask], Any]] = {
    AdaptersRequest: _adapters,
    ConsoleLogRequest: _pass_on,
    ConsoleRequest: _pass_on,
    DocumentsRequest: _pass_on,
    FactsRequest: _facts,
    GiveImageRequest: _give_image,
    ImagesRequest: _pass_on,
    InfinibandRequest: _infiniband,
    NetworkRequest: _pass_on,
    PerformRequest: _perform,
    ProbeRequest: _pass_on,
    RemoveConsoleLogsRequest: _remove_console_logs,
    RemoveImageRequest: _remove_image,
    ScreenRequest: _pass_on,
    SyncLinksRequest: _sync_links,
}
"""Each request of `rocks.fleet.wire.requests.CALLS`, and its answer in a dry run."""
