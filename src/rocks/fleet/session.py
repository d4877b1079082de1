"""One host during one command: its connection and its agent, from the first request to the last."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import rocks
from rocks.core import dry_run
from rocks.core.errors import BugError, BusyError, HostError, IncoherentError, RocksError, StateError
from rocks.core.names import counted
from rocks.core.version import is_packaged
from rocks.fleet.agent_line import AgentLine, AnsweringError, NoAgentError
from rocks.fleet.connection import Connection, FleetSettings, HostAddress
from rocks.fleet.wire.calls import (
    AGENT_FOLDER,
    VersionError,
    agent_archive_name,
    read_reply,
    reply_deadline_seconds,
    write_request,
)
from rocks.fleet.wire.codec import Reply, Request
from rocks.fleet.wire.errors import at_host
from rocks.fleet.wire.facts import (
    AdapterFacts,
    AdapterSpec,
    AdaptersRequest,
    ConsoleRequest,
    DiskFact,
    DocumentsRequest,
    FactsRequest,
    HostFacts,
    ProbeRequest,
)
from rocks.fleet.wire.requests import (
    ConsoleLogRequest,
    ForgetMachinesRequest,
    GiveImageRequest,
    ImageChange,
    ImagesRequest,
    InfinibandRequest,
    NetworkRequest,
    PerformReply,
    PerformRequest,
    RemovedFiles,
    RemoveImageRequest,
    ScreenRequest,
    StartDomain,
    SyncLinksReply,
    SyncLinksRequest,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rocks.fleet.wire.facts import DomainFact

    Ask = Callable[[Request[Any]], Any]


class Session:
    """Sends requests to one host, one after the other; requests of several threads wait for each other."""

    def __init__(
        self, address: HostAddress, settings: FleetSettings, connect: Callable[[], Connection]
    ) -> None:
        self.address = address
        self._settings = settings
        self._connect = connect
        self._connection: Connection | None = None
        self._agent: AgentLine | None = None
        self._warm_up_error: RocksError | None = None
        self._is_closed = False
        self._lock = threading.Lock()

    def warm_up(self) -> None:
        """Connect and start the agent for the next request; an error is raised by that request."""
        with self._lock:
            try:
                self._ready_agent()
            except RocksError as error:
                self._warm_up_error = error

    def ask(self, request: Request[Reply]) -> Reply:
        """The host's reply. Raises the error that the agent reports, or HostError without a valid reply.

        StateError for an agent of another version, with the command line that upgrades it. In a dry run the host is
        asked for nothing but facts; see `ask_in_dry_run`.
        """
        if dry_run.is_on():
            return ask_in_dry_run(self.address.name, request, self._ask)
        return self._ask(request)

    def _ask(self, request: Request[Reply]) -> Reply:
        deadline_seconds = reply_deadline_seconds(request)
        if not self._lock.acquire(timeout=deadline_seconds):
            raise BusyError(f"host {self.address.name} has not answered an earlier request")
        try:
            answer = self._exchange(request, deadline_seconds)
        except RocksError:
            self._forget_agent()
            raise
        finally:
            self._lock.release()
        if not isinstance(answer, RocksError):
            return answer
        if isinstance(answer, HostError):
            answer = AnsweringError(str(answer), code=answer.code)
        raise at_host(self.address.name, answer)

    def close(self) -> None:
        """Close agent and connection; those that another thread opens just now, when they are open."""
        self._is_closed = True
        self._forget_agent()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _exchange(self, request: Request[Reply], deadline_seconds: float) -> Reply | RocksError:
        try:
            agent = self._ready_agent()
        except RocksError as error:
            error.nothing_done = True
            if isinstance(error, NoAgentError):
                raise self._without_agent(error) from None
            raise
        try:
            line = agent.ask(write_request(request), deadline_seconds)
            return read_reply(line, request)
        except VersionError as error:
            text = (
                f"the agent on host {self.address.name} is version {error.theirs}, this system is version "
                f"{rocks.__version__}: {self._install_line()}"
            )
            older = StateError(text)
            older.nothing_done = True
            raise older from None
        except NoAgentError as error:
            raise self._without_agent(error) from None
        except IncoherentError as error:
            raise AnsweringError(
                f"the agent on host {self.address.name} sent invalid data: {error}"
            ) from None

    def _without_agent(self, error: NoAgentError) -> AnsweringError:
        found = AnsweringError(f"{error}: {self._install_line()}")
        found.nothing_done = True
        return found

    def _install_line(self) -> str:
        login = ""
        if not self.address.is_local:
            login = f"ssh -p {self.address.port} {self._settings.user}@{self.address.address} "
        if is_packaged():
            return (
                f"install the matching package from the site's repository with `{login}apt-get install rocks-agent` "
                f"(Debian) or `{login}dnf install rocks-agent` (RPM)"
            )
        archive = f"dist/{agent_archive_name()}"
        unpack = f"mkdir -p {AGENT_FOLDER} && tar -xzf - -C {AGENT_FOLDER}"
        if login:
            unpack = f"{login}'{unpack}'"
        return f"`make agent` builds the matching version; install it with `{unpack} < {archive}`"

    def _ready_agent(self) -> AgentLine:
        error, self._warm_up_error = self._warm_up_error, None
        if error is not None:
            raise error
        connection = self._connection
        if connection is None:
            connection = self._connection = self._connect()
        agent = self._agent
        if agent is None:
            agent = self._agent = connection.open_agent()
        if self._is_closed:
            # the host was slow, and `close` found nothing to close: a service would collect such connections
            agent.close()
            connection.close()
            raise HostError(f"host {self.address.name} was ready only after its command had ended")
        return agent

    def _forget_agent(self) -> None:
        agent, self._agent = self._agent, None
        if agent is not None:
            agent.close()


# What hosts are asked in a dry run: the question in a request is asked, its change is printed.


_OFF = ("shutoff", "crashed")


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


def _has_state(domain: DomainFact | None) -> bool:
    return domain is not None and (domain.state not in _OFF or domain.has_managed_save)


def _perform(host: str, request: PerformRequest, ask: Ask) -> PerformReply:
    """The steps that the host plans, printed; a device that the dry run takes as mapped is there for them."""
    _facts(host, FactsRequest(fences=request.fences, epoch=request.epoch), ask)
    disks = {disk.path for one in request.operations if isinstance(one, StartDomain) for disk in one.disks}
    assumed = tuple(sorted(path for path in disks if dry_run.is_assumed(host, path)))
    planned: PerformReply = ask(replace(request, epoch=0, assumed_disks=assumed))
    for outcome in planned.outcomes:
        for step in outcome.steps:
            dry_run.would(host, step)
    return planned


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


def _forget_machines(host: str, request: ForgetMachinesRequest, ask: Ask) -> RemovedFiles:
    machines = counted(len(request.machines), "machine")
    dry_run.would(host, f"remove the logs of the consoles, and variables of UEFI, of {machines}")
    return RemovedFiles(0)


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
    ForgetMachinesRequest: _forget_machines,
    RemoveImageRequest: _remove_image,
    ScreenRequest: _pass_on,
    SyncLinksRequest: _sync_links,
}
"""Each request of `rocks.fleet.wire.calls.CALLS`, and its answer in a dry run."""
