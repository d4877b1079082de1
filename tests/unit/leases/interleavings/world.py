"""The world of the model: a database, hosts, messages and processes as one value, and the choices of what happens next.

Commands come one after the other: the lock of the machine has them wait. A killed command leaves its messages and
agents behind; a process that is delayed or stopped (SIGSTOP) is one that is not chosen. Each message may arrive twice,
each reply may be lost, each agent may be killed between any two steps; these faults are counted. A command may be
killed anywhere, a wait for a lock may end in its deadline at any time, and libvirtd goes on with the calls of a killed
agent; these are not counted.

Steps that no other process can notice are done with the step before them: reads of what the lock protects, the return
of an ended agent. While a command stores or sends, nothing else is chosen: neither depends on the steps of agents.
"""

from functools import cache
from typing import Any, NamedTuple
from unittest.mock import patch

from rocks.core.errors import RocksError
from rocks.fleet.wire.facts import FactsRequest
from rocks.machine.domain import with_lease
from rocks.machine.host import hook
from rocks.machine.host.libvirt.domain_xml import DomainDocument, parse_domain
from tests.fakes.libvirt import FakeDomains, _Domain
from tests.unit.leases.interleavings.programs import NAME, XML, run
from tests.unit.leases.interleavings.replay import End, Failure, Operation, Programs, failure_of

Domain = tuple[int, str]
"""Token and state of the domain on a host."""

Scenario = tuple[tuple[str, str], ...]
"""The commands in order: (start, host to be placed on), (stop, ""), (force, "")."""

Message = tuple[str, int, str]
"""The sending command, the number of its message, the host."""

Choice = tuple[str, str]
"""(what happens, to which process or host)"""

_LOST = Failure("host", "the host does not answer")
_BUSY = Failure("busy", "another command is working on it")


class Job(NamedTuple):
    """A start that libvirtd has received: queued, in its hook, or done with `result`."""

    agent: str
    phase: str = "queued"
    result: Failure | None = None


class HostState(NamedTuple):
    """A host: the stored token, the agent that holds the lock, the domain, libvirtd's jobs."""

    token: int | None = None
    holder: str = ""
    domain: Domain | None = None
    jobs: tuple[Job, ...] = ()

    @property
    def has_instance(self) -> bool:
        """Whether a QEMU process runs: in the hook, the domain is active already but has none yet."""
        if self.domain is None or self.domain[1] == "shutoff":
            return False
        return not any(job.phase == "hook" for job in self.jobs)


class Process(NamedTuple):
    """A command or an agent, at a point of its program. `copy_of` is the message that an agent answers."""

    point: int
    host: str = ""
    copy_of: Message | None = None


class World(NamedTuple):
    """Everything. `sent` counts the messages of the running command, `replies` has those not received yet."""

    lease: tuple[int, str | None, str] | None
    fences: tuple[tuple[str, int], ...]
    place: str
    hosts: tuple[tuple[str, HostState], ...]
    processes: tuple[tuple[str, Process], ...] = ()
    running: str = ""
    started: int = 0
    sent: int = 0
    replies: tuple[tuple[Message, int], ...] = ()
    faults: int = 0

    @property
    def instances(self) -> int:
        """How many QEMU processes the machine has."""
        return sum(state.has_instance for _, state in self.hosts)

    def host(self, name: str) -> HostState:
        """The host of that name."""
        return next(state for host, state in self.hosts if host == name)

    def process(self, name: str) -> Process:
        """The process of that name."""
        return next(process for other, process in self.processes if other == name)


class Model:
    """The choices of a scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario

    def choices(self, world: World) -> list[Choice]:
        """What may happen next; none at the end."""
        found: list[Choice] = []
        if not world.running:
            if world.started < len(self._scenario):
                found.append(("begin", ""))
        else:
            found.append(("kill command", world.running))
            operation = _PROGRAMS.next[world.process(world.running).point]
            assert isinstance(operation, Operation)
            if operation.kind != "receive":
                found.append(("go", world.running))
                if operation.kind == "send" and world.faults and not _only_reads(operation):
                    found.append(("send twice", world.running))
                return found
            message = (world.running, world.sent, operation.arguments[0])
            if any(key == message for key, _ in world.replies):
                found.append(("go", world.running))
            if world.faults:
                found.append(("lose reply", world.running))
        for number, process in world.processes:
            if process.copy_of is not None:
                self._agent_choices(world, number, process, found)
        for host, state in world.hosts:
            found.extend(("libvirtd", f"{host} {job.agent}") for job in state.jobs if job.phase != "done")
        return found

    def _agent_choices(self, world: World, number: str, process: Process, found: list[Choice]) -> None:
        operation, state = _PROGRAMS.next[process.point], world.host(process.host)
        assert isinstance(operation, Operation)
        if _can_go(number, operation, state):
            found.append(("go", number))
        elif operation.kind == "lock":
            found.append(("busy", number))
        if world.faults:
            found.append(("kill agent", number))

    def after(self, world: World, choice: Choice) -> World:
        """The world after the choice."""
        kind, name = choice
        if kind == "begin":
            command, place = self._scenario[world.started]
            place = place or world.place
            name = f"command{world.started}"
            begun = world._replace(running=name, started=world.started + 1, place=place, sent=0)
            return _settled(begun, name, Process(_PROGRAMS.begin((command, place))))
        if kind == "kill command":
            return _command_ended(world)
        if kind == "kill agent":
            return _without(world._replace(faults=world.faults - 1), name)
        if kind == "libvirtd":
            host, agent = name.split(" ")
            return _with_host(world, host, _job_done(world.host(host), agent))
        process = world.process(name)
        if kind == "lose reply":
            return _continued(world._replace(faults=world.faults - 1), name, process, _LOST)
        if kind == "busy":
            return _continued(world, name, process, _BUSY)
        operation = _PROGRAMS.next[process.point]
        assert isinstance(operation, Operation)
        if process.copy_of is None:
            return _command_goes(world, name, process, operation, kind == "send twice")
        return _agent_goes(world, name, process, operation)


def first_world(hosts: tuple[str, ...], faults: int) -> World:
    """A machine that never ran."""
    return World(None, (), hosts[0], tuple((host, HostState()) for host in hosts), faults=faults)


_PROGRAMS = Programs(run)
_READ_DOMAINS = Operation("libvirt", ("facts",))
_REPLIES: dict[Any, int] = {}
_REPLY_OF: list[Any] = []


def forget_programs() -> None:
    """Forget what programs do: their code has been replaced."""
    global _PROGRAMS
    _PROGRAMS = Programs(run)


def _number_of(reply: Any) -> int:
    if reply not in _REPLIES:
        _REPLIES[reply] = len(_REPLY_OF)
        _REPLY_OF.append(reply)
    return _REPLIES[reply]


def _only_reads(operation: Operation) -> bool:
    return not any(_has_effect(request) for _, request in operation.arguments[0])


def _has_effect(request: Any) -> bool:
    return not isinstance(request, FactsRequest) or bool(request.fences or request.lease_ends)


def _command_goes(world: World, name: str, process: Process, operation: Operation, twice: bool) -> World:
    if operation.kind == "commit":
        lease, fences = operation.arguments
        return _continued(world._replace(lease=lease, fences=fences), name, process, None)
    if operation.kind == "send":
        world = world._replace(sent=world.sent + 1, faults=world.faults - twice)
        for host, request in operation.arguments[0]:
            for copy in range(1 + (twice and _has_effect(request))):
                agent = Process(_PROGRAMS.begin(("agent", request)), host, (name, world.sent, host))
                world = _settled(world, f"{name}.{world.sent}.{host}.{copy}", agent)
        return _continued(world, name, process, None)
    if operation.kind == "receive":
        message = (name, world.sent, operation.arguments[0])
        reply = _REPLY_OF[dict(world.replies)[message]]
        world = world._replace(replies=tuple(pair for pair in world.replies if pair[0] != message))
        return _continued(world, name, process, reply)
    assert operation.kind == "power_off", operation
    (host,) = operation.arguments
    for agent, other in world.processes:
        if other.host == host:
            world = _without(world, agent)
    state = world.host(host)
    domain = None if state.domain is None else (state.domain[0], "shutoff")
    world = _with_host(world, host, state._replace(domain=domain, jobs=(), holder=""))
    return _continued(world, name, process, None)


def _agent_goes(world: World, name: str, process: Process, operation: Operation) -> World:
    state = world.host(process.host)
    result: Any = None
    if operation.kind == "lock":
        state = state._replace(holder=name)
    elif operation.kind == "store":
        state = state._replace(token=operation.arguments[0])
    elif operation.kind == "create":
        state = state._replace(jobs=(*state.jobs, Job(name)))
    elif operation.kind == "created":
        result = next(job.result for job in state.jobs if job.agent == name)
        state = state._replace(jobs=tuple(job for job in state.jobs if job.agent != name))
    else:
        assert operation.kind == "libvirt", operation
        domain, result = libvirt(state.domain, *operation.arguments)
        state = state._replace(domain=domain)
    return _continued(_with_host(world, process.host, state), name, process, result)


def _can_go(name: str, operation: Operation, state: HostState) -> bool:
    if operation.kind == "lock":
        return not state.holder
    if operation.kind == "created":
        return any(job.agent == name and job.phase == "done" for job in state.jobs)
    return True


def _job_done(state: HostState, agent: str) -> HostState:
    """libvirtd begins the start, or its hook ends: the domain is active before, the guest exists after."""
    job = next(job for job in state.jobs if job.agent == agent)
    if job.phase == "queued":
        domain, result = libvirt(state.domain, "start_paused", NAME)
        job = job._replace(phase="done" if result else "hook", result=result)
    elif state.domain is None or state.domain[1] == "shutoff":
        domain, job = state.domain, job._replace(phase="done", result=Failure("tool", "destroyed"))
    else:
        domain, result = state.domain, hook_result(state.domain[0], state.token)
        if result is not None:
            domain = (domain[0], "shutoff")
        job = job._replace(phase="done", result=result)
    return state._replace(domain=domain, jobs=tuple(job if old.agent == agent else old for old in state.jobs))


def _continued(world: World, name: str, process: Process, result: Any) -> World:
    return _settled(world, name, process._replace(point=_PROGRAMS.follow(process.point, result)))


def _settled(world: World, name: str, process: Process) -> World:
    """The world after the steps of the process that no other process can notice or change."""
    while True:
        operation = _PROGRAMS.next[process.point]
        if isinstance(operation, End):
            return _ended(world, name, process, operation.result)
        result: Any = None
        if operation.kind == "read":
            result = (world.lease, world.fences)
        elif operation.kind == "place":
            result = world.place
        elif operation.kind == "remembered":
            result = world.host(process.host).token
        elif operation.kind == "unlock":
            world = _with_host(world, process.host, world.host(process.host)._replace(holder=""))
        elif operation.kind == "libvirt" and operation.arguments[0] == "set_autostart":
            pass  # the model has no boots
        elif operation.kind == "libvirt" and operation.arguments[0] == "find":
            state = world.host(process.host)
            if state.holder != name or state.jobs:
                break
            result = libvirt(state.domain, *operation.arguments)[1]
        else:
            break
        process = process._replace(point=_PROGRAMS.follow(process.point, result))
    others = [pair for pair in world.processes if pair[0] != name]
    return world._replace(processes=tuple(sorted([*others, (name, process)])))


def _ended(world: World, name: str, process: Process, result: Any) -> World:
    if process.copy_of is None:
        return _command_ended(world)
    world = _without(world, name)
    is_expected = process.copy_of[:2] == (world.running, world.sent)
    if not is_expected or any(key == process.copy_of for key, _ in world.replies):
        return world
    return world._replace(replies=tuple(sorted((*world.replies, (process.copy_of, _number_of(result))))))


def _command_ended(world: World) -> World:
    """The world without the running command; replies to nobody are forgotten, and so are agents that only read."""
    readers = {
        name
        for name, process in world.processes
        if _PROGRAMS.next[process.point] == _READ_DOMAINS or name == world.running
    }
    processes = tuple(pair for pair in world.processes if pair[0] not in readers)
    return world._replace(running="", sent=0, replies=(), processes=processes)


def _without(world: World, name: str) -> World:
    """The world after the end of a process; libvirtd goes on with what it has begun."""
    found = [process for other, process in world.processes if other == name]
    world = world._replace(processes=tuple(pair for pair in world.processes if pair[0] != name))
    for process in found:
        if process.copy_of is not None and world.host(process.host).holder == name:
            world = _with_host(world, process.host, world.host(process.host)._replace(holder=""))
    return world


def _with_host(world: World, host: str, state: HostState) -> World:
    if state.jobs:
        alive = {name for name, _ in world.processes}
        jobs = tuple(job for job in state.jobs if job.phase != "done" or job.agent in alive)
        state = state._replace(jobs=jobs)
    return world._replace(hosts=tuple([(name, state if name == host else old) for name, old in world.hosts]))


@cache
def libvirt(domain: Domain | None, method: str, *arguments: Any) -> tuple[Domain | None, Any]:
    """The domain after a call of the fake driver, which the contract tests hold to libvirt; and its result."""
    driver = FakeDomains()
    if domain is not None:
        document = _document(domain[0])
        driver._domains[NAME] = _Domain(document, document.uuid or "", domain[1])  # type: ignore[arg-type]
    result: Any
    try:
        result = getattr(driver, method)(*arguments)
    except RocksError as error:
        result = failure_of(error)
    fact = driver.find(NAME)
    return (None if fact is None or fact.token is None else (fact.token, fact.state)), result


@cache
def hook_result(domain_token: int, stored: int | None) -> Failure | None:
    """What libvirt's hook says to the start of a domain."""

    class Stored:
        def __init__(self, folder: Any) -> None:
            pass

        def remembered(self, name: str) -> int | None:
            return stored

    with patch.object(hook, "Leases", Stored):
        try:
            hook._check_lease(_document(domain_token), None)  # type: ignore[arg-type]
        except RocksError as error:
            return failure_of(error)
    return None


@cache
def _document(token: int) -> DomainDocument:
    return parse_domain(with_lease((XML,), token))
