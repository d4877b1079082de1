"""Facts of this host for the frontend: hardware, memory, domains. Fences are put up, and memory is promised here.

Units are those of the names, powers of 1024: `memory_mb` is in MiB. The shapes are in `rocks.fleet.wire.facts`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import (
    Callable,
    ContextManager,
    Dict,
    FrozenSet,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Set,
    Tuple,
    TypeVar,
)

from rocks.core.errors import HostError, RocksError, StateError
from rocks.core.files import explain, text_if_readable
from rocks.core.values import KIB_PER_MB
from rocks.fleet.host.state_folder import Place, ensure_folder, locked
from rocks.fleet.wire.facts import (
    ACTIVE_STATES,
    DomainFact,
    FactsRequest,
    Fence,
    HostFacts,
    LeaseEnd,
    NodeFact,
    PagesFact,
    PciFact,
    ShapeFact,
    ShapeQuestion,
)
from rocks.machine.host.disks import read_disk
from rocks.machine.host.guest_network import release_links, release_older_vfs
from rocks.machine.host.host import Host
from rocks.machine.host.libvirt.driver import is_active, other_spelling
from rocks.machine.host.libvirt.power import ensure_fenced
from rocks.machine.plans import check_memory, starting_mb
from rocks.network.host.kernel_support import has_8021q, has_filters

# Facts of the machine: memory, processors, load and operating system.

_NAME = re.compile(r"[a-z0-9._-]{1,40}")


class MachineFact(NamedTuple):
    """As reported by the kernel; `memory_mb` is MemTotal, `cpus` those that are online, `load` that of the last minute.

    `system` is the operating system and its release, as debian 12; empty without /etc/os-release.
    """

    memory_mb: int
    cpus: int
    load: float = 0.0
    system: str = ""


def read_machine() -> MachineFact:
    """The facts of this machine."""
    memory_kib = parse_memory_kib(Path("/proc/meminfo").read_text("ascii"))
    return MachineFact(
        memory_mb=memory_kib // KIB_PER_MB,
        cpus=os.cpu_count() or 1,
        load=round(os.getloadavg()[0], 2),
        system=_read_system(*map(Path, ("/etc/os-release", "/usr/lib/os-release"))),
    )


def _read_system(*places: Path) -> str:
    """`ID` and `VERSION_ID` of the first file that can be read, as debian 12; empty without one.

    A value that os-release(5) does not allow is left out. A testing release has no VERSION_ID.
    """
    for place in places:
        with contextlib.suppress(OSError):
            lines = place.read_text("utf-8", "replace").splitlines()
            break
    else:
        return ""
    values = {name: value.strip("\"'") for name, _, value in (line.strip().partition("=") for line in lines)}
    found = [values.get(name, "") for name in ("ID", "VERSION_ID")]
    return " ".join(value for value in found if _NAME.fullmatch(value))


def parse_memory_kib(meminfo: str) -> int:
    """`MemTotal` of the text of /proc/meminfo, in KiB; 0 when it is missing. Pure."""
    for line in meminfo.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1])
    return 0


# The shape of the machine: its NUMA nodes with their cores, memory and huge pages, and PCI devices. Reads sysfs; what
# is missing there is 0, empty or None, and no error.

_PAGES = re.compile(r"hugepages-([0-9]+)kB")
_NODE = re.compile(r"node([0-9]+)")
_CPU = re.compile(r"cpu([0-9]+)")
_MEMORY = re.compile(r"MemTotal:\s+([0-9]+)")


def read_shape(question: ShapeQuestion, sysfs: Path = Path("/sys"), proc: Path = Path("/proc")) -> ShapeFact:
    """The NUMA nodes by number, and the devices in the order of the question.

    Where the kernel has no NUMA, node 0 has all of the machine's memory, cores and huge pages.
    """
    folder = sysfs / "devices/system"
    numbers = _numbers(folder / "node", _NODE)
    if numbers:
        nodes = tuple(_node(folder, number) for number in numbers)
    else:
        pages = _pages(sysfs / "kernel/mm/hugepages")
        memory = parse_memory_kib(text_if_readable(proc / "meminfo"))
        nodes = (NodeFact(0, memory, _cores(folder / "cpu", _numbers(folder / "cpu", _CPU)), pages),)
    devices = tuple(_device(sysfs / "bus/pci/devices" / address, address) for address in question.devices)
    return ShapeFact(nodes, devices, " topoext" in text_if_readable(proc / "cpuinfo"))


def parse_cpu_list(text: str) -> List[int]:
    """The numbers of the CPUs of a list of the kernel (0-3,8), in order. Pure. ValueError for any other text."""
    found: Set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            found.update(range(int(first), int(last or first) + 1))
    return sorted(found)


def _node(folder: Path, number: int) -> NodeFact:
    place = folder / "node" / f"node{number}"
    memory = _MEMORY.search(text_if_readable(place / "meminfo"))
    cores = _cores(folder / "cpu", parse_cpu_list(text_if_readable(place / "cpulist")))
    return NodeFact(number, int(memory.group(1)) if memory else 0, cores, _pages(place / "hugepages"))


def _cores(folder: Path, cpus: Iterable[int]) -> Tuple[Tuple[int, ...], ...]:
    """The cores in order, each with the numbers of its CPUs that are online and among those given, in order.

    A CPU without a topology is a core of its own.
    """
    online = text_if_readable(folder / "online")
    usable = set(cpus) & set(parse_cpu_list(online)) if online else set(cpus)
    cores = set()
    for cpu in usable:
        # older kernels than 5.3 have the second name only
        topology = folder / f"cpu{cpu}" / "topology"
        siblings = (
            text_if_readable(topology / "core_cpus_list")
            or text_if_readable(topology / "thread_siblings_list")
            or str(cpu)
        )
        cores.add(tuple(sorted(usable.intersection(parse_cpu_list(siblings)) | {cpu})))
    return tuple(sorted(cores))


def _pages(folder: Path) -> Tuple[PagesFact, ...]:
    found = []
    for size_kb in _numbers(folder, _PAGES):
        place = folder / f"hugepages-{size_kb}kB"
        found.append(PagesFact(size_kb, _number(place / "nr_hugepages"), _number(place / "free_hugepages")))
    return tuple(found)


def _device(place: Path, address: str) -> PciFact:
    group: Optional[int] = None
    try:
        group = int((place / "iommu_group").resolve(strict=True).name)
    except (OSError, ValueError):
        pass  # no IOMMU, or no such device
    return PciFact(address, place.exists(), group)


def _numbers(folder: Path, form: "re.Pattern[str]") -> List[int]:
    """The numbers in the names of a folder, in order; none when there is no such folder."""
    try:
        matches = [form.fullmatch(path.name) for path in folder.iterdir()]
    except OSError:
        return []
    return sorted(int(match.group(1)) for match in matches if match)


def _number(path: Path) -> int:
    text = text_if_readable(path)
    return int(text) if text.isdigit() else 0


# Fences of a host, its epoch and the ends of leases, as contacts of the frontend bring them: older starts fail.

_DEADLINE_SECONDS = 5.0


def keep_out(host: Host, epoch: int, fences: Iterable[Fence]) -> Tuple[str, ...]:
    """Raise the host's lease epoch, and put up the fences; the names of the domains whose fences are in force.

    A fence that cannot be put up now is left out. BusyError while a start is in progress.
    """
    host.lease_epoch.raise_to(epoch)
    return tuple(fence.name for fence in fences if _put_up(host, fence))


def _put_up(host: Host, fence: Fence) -> bool:
    """Whether the fence is in force; False when it cannot be put up now."""
    try:
        other = other_spelling(host.domains(), fence.name)
        with host.leases.held(fence.name, _DEADLINE_SECONDS):
            host.leases.end(fence.name, fence.below_token - 1)
            is_fenced = ensure_fenced(host.domains(), fence)
            if host.domains().find(fence.name) is None:
                release_links(host, fence.name)
            is_fenced = is_fenced and release_older_vfs(host, fence.name, fence.below_token)
            return is_fenced and (other is None or _put_up(host, replace(fence, name=other)))
    except RocksError:
        return False


def end_lease(host: Host, end: LeaseEnd) -> bool:
    """Whether the lease has ended; False while its domain is active or saved, or another command works on it."""
    try:
        with host.leases.held(end.name, _DEADLINE_SECONDS):
            found = host.domains().find(other_spelling(host.domains(), end.name) or end.name)
            if found is not None and (found.state in ACTIVE_STATES or found.has_managed_save):
                return False
            host.leases.end(end.name, end.token)
            # libvirt may have passed its hook before, on behalf of an agent that has been killed
            return not is_active(host.domains(), end.name)
    except RocksError:
        return False


# What a host observes of itself, and reports to the frontend.


def observe(host: Host, paths: Iterable[str] = ()) -> HostFacts:
    """The facts of the host now, with the disks in the order of their absolute paths; nothing is changed.

    No leases, fences and shape are among them: those need a request. HostError when libvirt does not answer, UserError
    for a path that is relative or contains `..`.
    """
    return _observe(host, paths, host.domains().facts)


def observe_for_start(host: Host, name: str, paths: Iterable[str] = ()) -> HostFacts:
    """As `observe`, for the start of the machine of that name (`DomainDriver.facts_for_start`)."""
    return _observe(host, paths, lambda: host.domains().facts_for_start(name))


def _observe(
    host: Host, paths: Iterable[str], read_domains: Callable[[], Tuple[DomainFact, ...]]
) -> HostFacts:
    machine, versions = read_machine(), host.domains().versions()
    return HostFacts(
        memory_mb=machine.memory_mb,
        cpus=machine.cpus,
        has_8021q=has_8021q(host.state_folder, lambda: host.links().has_8021q()),
        has_filters=has_filters(host.state_folder, lambda: host.filters().works()),
        domains=read_domains(),
        disks=tuple(map(read_disk, paths)),
        fenced=(),
        epoch=host.lease_epoch.current(),
        load=machine.load,
        system=machine.system,
        qemu=versions.qemu,
        libvirt=versions.libvirt,
        libvirt_installed=versions.libvirt_installed,
    )


def read_facts(host: Host, request: FactsRequest) -> HostFacts:
    """The facts of the host, read after its epoch was raised, its fences were put up and leases have ended.

    Errors as of `keep_out` and `observe`.
    """
    fenced = keep_out(host, request.epoch, request.fences)
    ended = tuple(end.name for end in request.lease_ends if end_lease(host, end))
    return replace(
        observe(host, request.disks),
        fenced=fenced,
        ended=ended,
        leases=host.leases.facts() if request.asks_leases else (),
        shape=None if request.shape is None else read_shape(request.shape, host.sysfs),
    )


# Memory of a host: promised to one start at a time, so that starts at the same moment never share it.

Decided = TypeVar("Decided")

_LOCK_DEADLINE_SECONDS = 20.0
_LONGEST_BYTES = 20


class RequestedStarts:
    """What the starts of one request know of their host together: what the first one observed, and their memory since.

    libvirt answers a question about a domain that it starts when it has started: if each start observed all domains,
    it would wait for the one before.
    """

    def __init__(self) -> None:
        self._observed: Optional[HostFacts] = None
        self._memory_mb: Dict[str, int] = {}
        self._promises: FrozenSet[Tuple[str, int]] = frozenset()

    def decide(
        self,
        host: Host,
        name: str,
        paths: Iterable[str],
        promised: Mapping[str, int],
        plan: Callable[[HostFacts, Mapping[str, int]], Decided],
    ) -> Decided:
        """The plan of a start, by what was observed, unless another request has promised memory since or it is refused.

        `promised`: the memory of starts in progress, in MB by name. Errors are those of `plan` and `observe`. The
        caller holds the lock of all promises, and that of the machine.
        """
        if self._observed is not None and self._promises == _written(host):
            own = host.domains().find(name)
            others = tuple(fact for fact in self._observed.domains if fact.name != name)
            observed = replace(
                self._observed,
                domains=others if own is None else (*others, own),
                disks=tuple(map(read_disk, paths)),
            )
            with contextlib.suppress(StateError):  # what has ended since may be what it lacks
                return plan(observed, {**self._memory_mb, **promised})
        # a start in progress is not among what is observed, and its promise ends before the next start is planned
        self._observed, self._memory_mb = observe_for_start(host, name, paths), dict(promised)
        return plan(self._observed, promised)

    def promise(self, host: Host, name: str, memory_mb: int) -> None:
        """Note a promise of this request, before its lock is released."""
        self._memory_mb[name] = memory_mb
        self._promises = _written(host)


def _written(host: Host) -> FrozenSet[Tuple[str, int]]:
    """Name and time of change, in ns, of each promise ever made here: all differ after another one."""
    with os.scandir(Place.MEMORY.below(host.state_folder)) as entries:
        return frozenset((entry.name, entry.stat(follow_symlinks=False).st_mtime_ns) for entry in entries)


@contextmanager
def memory_promised(
    host: Host,
    name: str,
    memory_mb: int,
    decide: Callable[[Mapping[str, int]], Decided],
    starts: Optional[RequestedStarts] = None,
) -> Iterator[Decided]:
    """Promise memory to a domain until the block ends: it is active then, and libvirt counts it, or has failed.

    `decide` gets the promises to starts in progress, in MB by name, and raises StateError when too little is left; no
    other promise is given meanwhile. The promise is a file that its agent locks, so that it ends with the agent. The
    caller holds the machine's lock. `starts` notes it. BusyError while other starts decide for 20 s; HostError when the
    file cannot be written.
    """
    folder = ensure_folder(Place.MEMORY.below(host.state_folder))
    busy = "another command is starting guests on this host; try again later"
    lock = Place.MEMORY_LOCK.below(host.state_folder)
    with locked(lock, shared=False, deadline_seconds=_LOCK_DEADLINE_SECONDS, busy=busy):
        decided = decide(_promises(folder))
        promise = _promise(folder / name, memory_mb)
        if starts is not None:
            starts.promise(host, name, memory_mb)
    try:
        yield decided
    finally:
        os.close(promise)


def starts_in_progress(state_folder: Path) -> Dict[str, int]:
    """Name → memory in MB of the machines whose start has begun on this host; their domains may not exist yet."""
    return _promises(ensure_folder(Place.MEMORY.below(state_folder)))


def memory_reserved(
    host: Host, name: str, memory_mb: int, reserve_mb: int, outcome: str
) -> ContextManager[None]:
    """As `memory_promised`, where nothing but the memory is decided. StateError when the host has too little.

    `reserve_mb` is memory of the host that no guest gets; `outcome` as of `check_memory`.
    """

    def decide(promised: Mapping[str, int]) -> None:
        observed = observe_for_start(host, name)
        starting = starting_mb(name, promised, observed)
        check_memory(name, memory_mb, reserve_mb, observed, starting, outcome=outcome)

    return memory_promised(host, name, memory_mb, decide)


def _promises(folder: Path) -> Dict[str, int]:
    """Name → memory in MB of the starts in progress; the files of ended agents are not locked and do not count."""
    found = {}
    for path in folder.iterdir():
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # not a file, so nobody's promise
        try:
            # shared: another reader at this moment, as Slurm's prolog, is no start
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.read(descriptor, _LONGEST_BYTES)
            found[path.name] = int(text) if text.isdigit() else 0
        finally:
            os.close(descriptor)
    return found


def _promise(path: Path, memory_mb: int) -> int:
    """The descriptor of the open, locked file of the promise. HostError. The caller holds the lock of all promises."""
    try:
        descriptor = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
    except OSError as error:
        raise HostError(f"cannot open {path}: {explain(error, path)}") from None
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(memory_mb).encode(), 0)
    except OSError as error:
        os.close(descriptor)
        raise HostError(f"cannot write {path}: {explain(error, path)}") from None
    return descriptor
