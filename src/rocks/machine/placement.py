"""Which cores, memory and PCI devices of its host a virtual machine gets for itself, by its attributes. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from lxml import etree

from rocks.core.errors import Code, StateError, UserError
from rocks.core.names import printable
from rocks.core.values import KIB_PER_MB, read_number
from rocks.machine.spec import container_of, memory_reserve_mb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rocks.fleet.wire.facts import NodeFact, PciFact, ShapeFact
    from rocks.inventory.records import Host, VirtualMachine


# Values of attributes that shape virtual machines for HPC: CPUs, huge pages, queues, PCI devices.

PAGE_SIZES_KB = {"2M": 2048, "1G": 1024 * 1024}
"""Sizes of huge pages on x86-64, as attributes name them, in KiB."""

PINNED = ("pin_all", "numa")
"""Values of `kvm_cpu_pinning` with which a machine has whole cores of its own."""

WATCHDOG_ACTIONS = ("reset", "poweroff", "shutdown", "pause", "none", "dump", "inject-nmi")
"""libvirt's names of what happens when a guest no longer serves its watchdog."""

LIBVIRT_CPU_MODES = ("host-passthrough", "host-model", "maximum", "custom")
MAX_QUEUES = 256
"""The kernel's maximum for a tap device."""

MAX_IOTHREADS = 64
MAX_CPU = 8191
"""The highest number of a CPU in Linux for x86-64."""

MAX_NODE = 1023
MAX_PAGES = 99_999_999
MAX_DEVICES = 32

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_ADDRESS = re.compile(r"(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7]", re.ASCII)
_POOL = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}", re.ASCII)


class PageReserve(NamedTuple):
    """Huge pages of one size that a host reserves at its boot; `node` None: spread over its NUMA nodes."""

    size: str
    pages: int
    node: int | None


def read_cpu_set(text: str) -> frozenset[int]:
    """The CPUs in a list as Linux and libvirt write it: 0-3,8,^2. UserError for another text."""
    found: set[int] = set()
    without: set[int] = set()
    for part in text.split(","):
        is_excluded = part.strip().startswith("^")
        first, dash, last = part.strip().removeprefix("^").partition("-")
        lowest = read_number("a CPU", first.strip(), 0, MAX_CPU)
        highest = read_number("a CPU", last.strip(), lowest, MAX_CPU) if dash else lowest
        (without if is_excluded else found).update(range(lowest, highest + 1))
    return frozenset(found - without)


def write_cpu_set(cpus: Iterable[int]) -> str:
    """As `read_cpu_set` reads it, in order, with ranges."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and runs[-1][1] == cpu - 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def read_page_reserve(text: str) -> tuple[PageReserve, ...]:
    """Parts SIZE:NUMBER or SIZE:NUMBER@NODE, separated by blanks: `2M:1024 1G:8@1`. UserError for another text."""
    found = []
    for part in text.split():
        size, _, rest = part.partition(":")
        count, at, node = rest.partition("@")
        if size not in PAGE_SIZES_KB or not count:
            raise UserError(
                f'"{printable(part)}" is not SIZE:NUMBER or SIZE:NUMBER@NODE with the size 2M or 1G: 2M:1024 1G:8@1'
            )
        number = read_number("the number of pages", count, 0, MAX_PAGES)
        found.append(
            PageReserve(size, number, read_number("the NUMA node", node, 0, MAX_NODE) if at else None)
        )
    places = [(one.size, one.node) for one in found]
    if len(set(places)) < len(places) or any(
        (size, None) in places and node is not None for size, node in places
    ):
        raise UserError("it names the pages of a size twice")
    return tuple(found)


def read_pci_address(text: str) -> str:
    """A PCI address with its domain: 0000:3b:00.0. UserError for another text."""
    address = text.strip().lower()
    if not _ADDRESS.fullmatch(address):
        raise UserError(f'"{printable(text)}" is not a PCI address such as 0000:3b:00.0')
    return address if address.count(":") == 2 else f"0000:{address}"


def read_pci_pools(text: str) -> dict[str, tuple[str, ...]]:
    """Pool → addresses, from `gpu:0000:3b:00.0,0000:d8:00.0 nvme:0000:5e:00.0`. UserError for another text."""
    pools: dict[str, tuple[str, ...]] = {}
    for part in text.split():
        name, _, addresses = part.partition(":")
        pools[_new_pool(name, pools)] = tuple(read_pci_address(address) for address in addresses.split(","))
    given = [address for addresses in pools.values() for address in addresses]
    for address in given:
        if given.count(address) > 1:
            raise UserError(f"it names the device {address} twice")
    return pools


def read_pci_requests(text: str) -> dict[str, int]:
    """Pool → number of devices, from `gpu:2 nvme` (one, without a number). UserError for another text."""
    requests: dict[str, int] = {}
    for part in text.replace(",", " ").split():
        name, colon, number = part.partition(":")
        requests[_new_pool(name, requests)] = (
            read_number("the number of devices", number, 1, MAX_DEVICES) if colon else 1
        )
    return requests


def is_cpu_model(text: str) -> bool:
    """Whether the text has the form of the name of a CPU model."""
    return bool(_MODEL.fullmatch(text))


def check_cpu_mode(text: str) -> None:
    """UserError unless the text is a CPU mode of libvirt, with or without inner XML, or the name of a CPU model."""
    if text.partition(":")[0] in LIBVIRT_CPU_MODES or is_cpu_model(text):
        return
    raise UserError(
        "it must be host-passthrough, host-model, the name of a CPU model (virsh cpu-models x86_64 lists them), or "
        "MODE:INNER-XML"
    )


def check_queues(text: str) -> None:
    """UserError unless the text is `cpus` or a number of queues."""
    if text != "cpus":
        read_number("the number of queues", text, 1, MAX_QUEUES)


def _new_pool(name: str, others: Iterable[str]) -> str:
    if not _POOL.fullmatch(name):
        raise UserError(
            f'"{printable(name)}" is not a name of a pool of PCI devices: letters, digits, - and _'
        )
    if name.lower() in (other.lower() for other in others):
        raise UserError(f"it names the pool {name} twice")
    return name


# What virtual machines ask of their hosts' cores, memory and PCI devices, what is leased, and what they get.


class CoreRow(NamedTuple):
    """A row of `vm_core_leases`: CPU `cpu` of `host` is leased to the machine `name` under the token of its lease."""

    host: str
    cpu: int
    name: str
    token: int


class PageRow(NamedTuple):
    """A row of `vm_page_leases`: pages of `size_kb` KiB on a NUMA node of `host` are leased to the machine `name`."""

    host: str
    node: int
    size_kb: int
    pages: int
    name: str
    token: int


class DeviceRow(NamedTuple):
    """A row of `vm_device_leases`: the PCI device `address` of `host` is leased to the machine `name`."""

    host: str
    address: str
    pool: str
    name: str
    token: int


class ShapeLeases(NamedTuple):
    """What is leased: of one host, or by one machine."""

    cores: tuple[CoreRow, ...] = ()
    pages: tuple[PageRow, ...] = ()
    devices: tuple[DeviceRow, ...] = ()

    def but(self, name: str, token: int) -> ShapeLeases:
        """Without those of the machine under this token."""
        return self._selected(lambda row: (row.name.lower(), row.token) != (name.lower(), token))

    def of(self, name: str, token: int) -> ShapeLeases:
        """The leases of the machine under this token."""
        return self._selected(lambda row: (row.name.lower(), row.token) == (name.lower(), token))

    def on(self, host: str) -> ShapeLeases:
        """The leases of the host."""
        return self._selected(lambda row: row.host.lower() == host.lower())

    def plus(self, other: ShapeLeases) -> ShapeLeases:
        """Both."""
        return ShapeLeases(self.cores + other.cores, self.pages + other.pages, self.devices + other.devices)

    def _selected(self, chosen: Callable[[CoreRow | PageRow | DeviceRow], bool]) -> ShapeLeases:
        return ShapeLeases(
            tuple(filter(chosen, self.cores)),
            tuple(filter(chosen, self.pages)),
            tuple(filter(chosen, self.devices)),
        )


class ShapeRequest(NamedTuple):
    """What a machine that is about to start asks of its host.

    `pinning` is none, pin_all, numa or fixed; with `fixed` the site's own XML names `fixed_cpus`. `page_kb` is the size
    of its huge pages, 0 for ordinary memory. `devices` maps pools of PCI devices to numbers. `lent_cpus` are the CPUs
    of the host for pinned machines, None: all; `pools` are its PCI devices. `reserve_mb` is the host's own memory.
    """

    name: str
    host: str
    token: int
    cpus: int
    memory_mb: int
    pinning: str = "none"
    fixed_cpus: frozenset[int] = frozenset()
    page_kb: int = 0
    devices: Mapping[str, int] = {}
    lent_cpus: frozenset[int] | None = None
    pools: Mapping[str, tuple[str, ...]] = {}
    reserve_mb: int = 0

    @property
    def is_pinned(self) -> bool:
        """Whether it has whole cores of its own."""
        return self.pinning in ("pin_all", "numa")

    @property
    def is_empty(self) -> bool:
        """Whether the host's facts change nothing in its domain."""
        asks = self.pinning != "none" or self.page_kb or self.devices
        return not asks and self.lent_cpus is None


class Cell(NamedTuple):
    """A NUMA node of the guest: its virtual CPUs, its memory, and the host's node that both are on."""

    node: int
    cpus: tuple[int, ...]
    memory_kb: int


class Placement(NamedTuple):
    """Where the machine is on its host.

    `pins` are the CPUs of the host for its virtual CPUs in order, () when it is not pinned; `threads` is their number
    in each core that the guest sees. `cells` are the guest's NUMA nodes, () when it has none of its own. `memory_node`
    is the host's node that all its memory is on, None for any. `helpers` are the CPUs of QEMU's other threads,
    `floating` those of a machine that is not pinned; () for any. `allocating` are further CPUs for QEMU's main thread,
    which fills huge pages. `devices` are PCI addresses.
    """

    pins: tuple[int, ...] = ()
    threads: int = 1
    cells: tuple[Cell, ...] = ()
    memory_node: int | None = None
    helpers: tuple[int, ...] = ()
    floating: tuple[int, ...] = ()
    allocating: tuple[int, ...] = ()
    needs_topoext: bool = False
    devices: tuple[str, ...] = ()


# PCI devices of a host, leased by pool to virtual machines.


def plan_pci_devices(
    vm: ShapeRequest, facts: Sequence[PciFact], rows: Iterable[DeviceRow]
) -> tuple[DeviceRow, ...]:
    """The first free devices of each pool. `rows` are the leases of other machines on the host.

    Devices of one IOMMU group go to one machine. StateError when a pool has too few.
    """
    found = {fact.address: fact for fact in facts}
    holders = {row.address: row.name for row in rows}
    groups = {found[address].group: name for address, name in holders.items() if address in found}
    chosen: list[DeviceRow] = []
    for pool, number in vm.devices.items():
        name, addresses = _pool(vm, pool)
        usable = [
            address
            for address in addresses
            if address not in holders
            and (fact := found.get(address)) is not None
            and fact.group is not None
            and fact.group not in groups
        ]
        if len(usable) < number:
            raise _too_few(vm, name, number, addresses, found, holders, groups)
        chosen += [DeviceRow(vm.host, address, name, vm.name, vm.token) for address in usable[:number]]
    return tuple(chosen)


def _pool(vm: ShapeRequest, pool: str) -> tuple[str, tuple[str, ...]]:
    for name, addresses in vm.pools.items():
        if name.lower() == pool.lower():
            return name, addresses
    listed = ", ".join(vm.pools) or "none"
    raise StateError(
        f"{vm.name} is not started: it asks for PCI devices of the pool {pool}, and {vm.host} has the pools: "
        f"{listed}; declare it (rocks set host attr {vm.host} vm_pci_pools {pool}:ADDRESS,ADDRESS), or choose "
        f"another host (rocks set host vm {vm.name} physnode=HOST)"
    )


def _too_few(
    vm: ShapeRequest,
    pool: str,
    number: int,
    addresses: Sequence[str],
    found: Mapping[str, PciFact],
    holders: Mapping[str, str],
    groups: Mapping[int | None, str],
) -> StateError:
    states = []
    for address in addresses:
        fact = found.get(address)
        if address in holders:
            state = f"is leased to {holders[address]}"
        elif fact is None or not fact.exists:
            state = "is not on the host"
        elif fact.group is None:
            state = "has no IOMMU group (switch the IOMMU on: intel_iommu=on or amd_iommu=on in the kernel's arguments)"
        elif fact.group in groups:
            state = f"is in one IOMMU group with a device of {groups[fact.group]}"
        else:
            state = "is free"
        states.append(f"{address} {state}")
    return StateError(
        f"{vm.name} is not started: it needs {number} PCI device{'s' * (number > 1)} of the pool {pool} of "
        f"{vm.host}: {'; '.join(states)}. Stop another machine (rocks list host vm shape), correct the pool (rocks "
        f"set host attr {vm.host} vm_pci_pools …), or choose another host (rocks set host vm {vm.name} "
        "physnode=HOST)",
        code=Code.HOST_FULL,
    )


# Memory of a host's NUMA nodes for virtual machines: huge pages, and ordinary memory that is bound to a node.

ORDINARY_KB = 4
"""The size of ordinary pages on x86-64, in KiB."""

PAGE_NAMES = {kb: name for name, kb in PAGE_SIZES_KB.items()}


def split_pages(vm: ShapeRequest, parts: int) -> tuple[int, ...]:
    """The pages of the machine's memory on each of so many nodes, the largest part first.

    StateError when its memory is not a number of whole pages.
    """
    page_kb = vm.page_kb or ORDINARY_KB
    pages, rest_kb = divmod(vm.memory_mb * KIB_PER_MB, page_kb)
    if rest_kb:
        raise StateError(
            f"{vm.name} is not started: its memory of {vm.memory_mb} MB is not a multiple of its huge pages of "
            f"{page_kb // KIB_PER_MB} MB; rocks set host vm {vm.name} mem={(pages + 1) * page_kb // KIB_PER_MB}"
        )
    return tuple(pages // parts + (number < pages % parts) for number in range(parts))


def free_pages(vm: ShapeRequest, node: NodeFact, rows: Iterable[PageRow], nodes: int) -> int:
    """The pages of the machine's size on the node that are neither leased nor used.

    For ordinary memory: what huge pages, the host's own part of its reserve, and leases leave of the node.
    """
    page_kb = vm.page_kb or ORDINARY_KB
    leased = sum(row.pages for row in rows if (row.node, row.size_kb) == (node.number, page_kb))
    if not vm.page_kb:
        huge_kb = sum(pages.size_kb * pages.total for pages in node.pages)
        own_kb = vm.reserve_mb * KIB_PER_MB // nodes
        return max(0, (node.memory_kb - huge_kb - own_kb) // page_kb - leased)
    found = next((pages for pages in node.pages if pages.size_kb == page_kb), None)
    # a machine that is starting has a lease and uses none yet; a program of the host uses some without a lease
    return 0 if found is None else max(0, min(found.total - leased, found.free))


def fits(vm: ShapeRequest, node: NodeFact, rows: Iterable[PageRow], pages: int, nodes: int) -> bool:
    """Whether the node has so many free pages for the machine."""
    return free_pages(vm, node, rows, nodes) >= pages


def why_no_memory(vm: ShapeRequest, nodes: Sequence[NodeFact], rows: Iterable[PageRow]) -> StateError:
    """The error for a machine whose nodes have too little memory of its kind."""
    page_kb = vm.page_kb or ORDINARY_KB
    free = {node.number: free_pages(vm, node, rows, len(nodes)) for node in nodes}
    if not vm.page_kb:
        listed = ", ".join(
            f"{count * page_kb // KIB_PER_MB} MB on node {node}" for node, count in free.items()
        )
        return StateError(
            f"{vm.name} is not started: its {vm.memory_mb} MB of memory do not fit on the NUMA nodes of its cores; "
            f"{vm.host} has {listed} free; stop another machine, choose another host (rocks set host vm {vm.name} "
            f"physnode=HOST), or rocks set host vm {vm.name} mem=MB",
            code=Code.HOST_FULL,
        )
    name = PAGE_NAMES[page_kb]
    listed = ", ".join(f"{count} on node {node}" for node, count in free.items())
    needed = split_pages(vm, 1)[0]
    others = sorted({row.name for row in rows if row.size_kb == page_kb})
    taken = f" (leased to {', '.join(others)})" if others else ""
    return StateError(
        f"{vm.name} is not started: it needs {needed} huge pages of {name} "
        f"{'on the NUMA nodes of its cores' if vm.is_pinned else 'on one NUMA node'}, and {vm.host} has free: "
        f"{listed}{taken}; reserve more (rocks set host attr {vm.host} vm_hugepages {name}:NUMBER, then its profile: "
        f"rocks sync host profile {vm.host}), stop another machine, or give it ordinary memory (rocks set host "
        f"attr {vm.name} kvm_hugepages none)",
        code=Code.HOST_FULL,
    )


# Which cores, memory and PCI devices of its host a virtual machine gets for itself: from facts and leases.
#
# A core, a huge page and a device are leased to one machine at a time. A machine that continues an interrupted start
# under the same lease gets what it had.


class _Cores(NamedTuple):
    """Cores that a machine gets on one node: the CPUs for its virtual CPUs, all that are leased, threads a core."""

    node: int
    pins: tuple[int, ...]
    leased: tuple[int, ...]
    threads: int


def plan_shape(vm: ShapeRequest, facts: ShapeFact, leased: ShapeLeases) -> tuple[Placement, ShapeLeases]:
    """The placement of the machine and its leases. `leased` are all leases of the host, its own of this start among
    them.

    StateError, which says what is short and what to run, when the host does not have it.
    """
    own = leased.of(vm.name, vm.token)
    others = leased.but(vm.name, vm.token)
    if own.cores and vm.is_pinned:
        # an agent may still work on the interrupted start: the same cores, unless the machine has changed since
        try:
            return _plan(vm._replace(lent_cpus=frozenset(row.cpu for row in own.cores)), facts, others, vm)
        except StateError:
            pass
    return _plan(vm, facts, others, vm)


def _plan(
    vm: ShapeRequest, facts: ShapeFact, others: ShapeLeases, whole: ShapeRequest
) -> tuple[Placement, ShapeLeases]:
    devices = plan_pci_devices(vm, facts.devices, others.devices)
    if vm.is_pinned:
        placement, leases = _pinned(vm, facts, others)
        shared = _all_cpus(facts) - (whole.lent_cpus if whole.lent_cpus is not None else _all_cpus(facts))
        helpers = tuple(sorted(shared)) or tuple(sorted(row.cpu for row in leases.cores))
        placement = placement._replace(helpers=helpers)
    else:
        placement, leases = _unpinned(vm, facts, others)
    return (
        placement._replace(
            devices=tuple(row.address for row in devices),
            allocating=_allocating(vm, facts, others, leases, placement),
        ),
        leases._replace(devices=devices),
    )


def _allocating(
    vm: ShapeRequest, facts: ShapeFact, others: ShapeLeases, own: ShapeLeases, place: Placement
) -> tuple[int, ...]:
    """CPUs on each node of the machine's huge pages that has none of QEMU's: its own ones, else those of no machine.

    QEMU fills pages by threads on their node, and ends when it may use no CPU there.
    """
    usable = {*(place.helpers or place.floating)}
    if not (vm.page_kb and usable):
        return ()
    mine, taken = ({row.cpu for row in leases.cores} for leases in (own, others))
    found: set[int] = set()
    for node in facts.nodes:
        cpus = _cpus_of(node)
        if not cpus & usable and any(row.node == node.number for row in own.pages):
            found |= (cpus & mine) or (cpus - taken)
    return tuple(sorted(found))


def _unpinned(vm: ShapeRequest, facts: ShapeFact, others: ShapeLeases) -> tuple[Placement, ShapeLeases]:
    floating: tuple[int, ...] = ()
    if vm.pinning == "fixed":
        _check_fixed(vm, facts, others)
    elif vm.lent_cpus is not None:
        floating = tuple(sorted(_all_cpus(facts) - vm.lent_cpus))
        if not floating:
            raise StateError(
                f"{vm.name} is not started: vm_pinned_cpus of {vm.host} lends all its CPUs to pinned machines, and "
                f"{vm.name} is not pinned; lend fewer (rocks set host attr {vm.host} vm_pinned_cpus CPUS), or pin "
                f"it (rocks set host attr {vm.name} kvm_cpu_pinning pin_all)"
            )
    # memory beside its CPUs first
    nodes = sorted(facts.nodes, key=lambda node: not _cpus_of(node) & {*floating})
    pages = _pages_on_one_node(vm, facts, others, [node.number for node in nodes])
    cores = tuple(CoreRow(vm.host, cpu, vm.name, vm.token) for cpu in sorted(vm.fixed_cpus))
    placement = Placement(
        floating=floating, memory_node=pages[0].node if pages and len(facts.nodes) > 1 else None
    )
    return placement, ShapeLeases(cores, pages)


def _check_fixed(vm: ShapeRequest, facts: ShapeFact, others: ShapeLeases) -> None:
    absent = vm.fixed_cpus - _all_cpus(facts)
    holders = sorted({row.name for row in others.cores if row.cpu in vm.fixed_cpus})
    remedy = f"change kvm_cpu_pinning of {vm.name}, or set it to pin_all or numa, which choose free cores"
    if absent:
        raise StateError(
            f"{vm.name} is not started: it is pinned to the CPU {min(absent)}, which {vm.host} does not have; "
            f"{remedy}"
        )
    if holders:
        taken = sorted(row.cpu for row in others.cores if row.cpu in vm.fixed_cpus)
        raise StateError(
            f"{vm.name} is not started: it is pinned to CPUs of {vm.host} that {', '.join(holders)} has "
            f"({', '.join(map(str, taken))}); stop it (rocks stop host vm {holders[0]}), or {remedy}",
            code=Code.HOST_FULL,
        )


def _pinned(vm: ShapeRequest, facts: ShapeFact, others: ShapeLeases) -> tuple[Placement, ShapeLeases]:
    free = {node.number: _free_cores(node, vm, others.cores) for node in facts.nodes}
    if vm.pinning == "numa":
        chosen, pages = _on_few_nodes(vm, facts, others, free)
        cells = _cells(chosen, pages)
    else:
        chosen, pages = _anywhere(vm, facts, others, free)
        cells = ()
    widths = {one.threads for one in chosen}
    threads = widths.pop() if len(widths) == 1 else 1
    on_one = pages[0].node if pages and not cells and len(facts.nodes) > 1 else None
    placement = Placement(
        pins=tuple(cpu for one in chosen for cpu in one.pins),
        threads=threads,
        cells=cells,
        memory_node=on_one,
        needs_topoext=facts.has_topoext and threads > 1,
    )
    cores = (CoreRow(vm.host, cpu, vm.name, vm.token) for one in chosen for cpu in one.leased)
    return placement, ShapeLeases(tuple(cores), pages)


def _on_few_nodes(
    vm: ShapeRequest,
    facts: ShapeFact,
    others: ShapeLeases,
    free: Mapping[int, Sequence[tuple[int, ...]]],
) -> tuple[list[_Cores], tuple[PageRow, ...]]:
    """Equally many CPUs on each of as few nodes as possible; those with the fewest free cores that suffice."""
    page_kb = vm.page_kb or ORDINARY_KB
    for count in range(1, len(facts.nodes) + 1):
        if vm.cpus % count:
            continue
        parts = split_pages(vm, count)
        found = []
        for node in sorted(facts.nodes, key=lambda node: (len(free[node.number]), node.number)):
            cores = _take(node.number, free[node.number], vm.cpus // count)
            if cores is not None and fits(vm, node, others.pages, parts[0], len(facts.nodes)):
                found.append(cores)
        if len(found) >= count:
            chosen = sorted(found[:count])
            pages = (
                PageRow(vm.host, one.node, page_kb, part, vm.name, vm.token)
                for one, part in zip(chosen, parts, strict=True)
            )
            return chosen, tuple(pages)
    raise _too_few_cores(vm, facts, others, free)


def _anywhere(
    vm: ShapeRequest,
    facts: ShapeFact,
    others: ShapeLeases,
    free: Mapping[int, Sequence[tuple[int, ...]]],
) -> tuple[list[_Cores], tuple[PageRow, ...]]:
    """The cores of one node where they suffice, else the first of all nodes; huge pages on one node."""
    numbers = sorted(free, key=lambda number: (len(free[number]), number))
    fitting = [number for number in numbers if _take(number, free[number], vm.cpus) is not None]
    try:
        pages = _pages_on_one_node(vm, facts, others, fitting)
        found = [_take(number, free[number], vm.cpus) for number in fitting]
        node = pages[0].node if pages else fitting[0] if fitting else None
        chosen = [one for one in found if one is not None and one.node == node]
        if chosen:
            return chosen, pages
    except StateError:
        pass
    chosen, missing = [], vm.cpus
    for number in sorted(free):
        for core in free[number]:
            if missing:
                chosen.append(_Cores(number, core[:missing], core, len(core) if len(core) <= missing else 1))
                missing -= len(core[:missing])
    if missing:
        raise _too_few_cores(vm, facts, others, free)
    return chosen, _pages_on_one_node(vm, facts, others, sorted(free))


def _take(number: int, cores: Sequence[tuple[int, ...]], cpus: int) -> _Cores | None:
    """The first cores with so many CPUs; None when there are too few."""
    used: list[tuple[int, ...]] = []
    for core in cores:
        if sum(map(len, used)) >= cpus:
            break
        used.append(core)
    leased = tuple(cpu for core in used for cpu in core)
    if len(leased) < cpus:
        return None
    width = len(used[0])
    is_even = all(len(core) == width for core in used) and cpus % width == 0
    return _Cores(number, leased[:cpus], leased, width if is_even else 1)


def _free_cores(node: NodeFact, vm: ShapeRequest, rows: Iterable[CoreRow]) -> list[tuple[int, ...]]:
    """The cores of the node whose CPUs are all lent to pinned machines and leased to none."""
    taken = {row.cpu for row in rows}
    lent = vm.lent_cpus
    return [core for core in node.cores if not taken & {*core} and (lent is None or lent.issuperset(core))]


def _cells(chosen: Sequence[_Cores], pages: Sequence[PageRow]) -> tuple[Cell, ...]:
    cells, first = [], 0
    for one, row in zip(chosen, pages, strict=True):
        cells.append(Cell(one.node, tuple(range(first, first + len(one.pins))), row.pages * row.size_kb))
        first += len(one.pins)
    return tuple(cells)


def _pages_on_one_node(
    vm: ShapeRequest, facts: ShapeFact, others: ShapeLeases, numbers: Sequence[int]
) -> tuple[PageRow, ...]:
    """Huge pages on the first of the nodes that has enough; () for ordinary memory."""
    if not vm.page_kb:
        return ()
    parts = split_pages(vm, 1)
    nodes = {node.number: node for node in facts.nodes}
    for number in numbers:
        if fits(vm, nodes[number], others.pages, parts[0], len(nodes)):
            return (PageRow(vm.host, number, vm.page_kb, parts[0], vm.name, vm.token),)
    raise why_no_memory(vm, facts.nodes, others.pages)


def _too_few_cores(
    vm: ShapeRequest,
    facts: ShapeFact,
    others: ShapeLeases,
    free: Mapping[int, Sequence[tuple[int, ...]]],
) -> StateError:
    """What is short: cores when all the nodes together, or in equal parts, have too few; else memory."""
    cpus = [sum(map(len, free[node.number])) for node in facts.nodes]
    counts = [count for count in range(1, len(cpus) + 1) if vm.cpus % count == 0]
    enough = any(sum(1 for one in cpus if one >= vm.cpus // count) >= count for count in counts)
    if vm.pinning == "numa" and enough:
        return why_no_memory(vm, facts.nodes, others.pages)
    holders = ", ".join(sorted({row.name for row in others.cores})) or "no machine"
    listed = ", ".join(f"{len(free[node.number])} on node {node.number}" for node in facts.nodes)
    lent = "" if vm.lent_cpus is None else " of those in vm_pinned_cpus"
    return StateError(
        f"{vm.name} is not started: it needs whole cores for {vm.cpus} CPUs"
        f"{', in equal parts on NUMA nodes' if vm.pinning == 'numa' else ''}, and {vm.host} has free "
        f"cores{lent}: {listed} (leased to {holders}; rocks list host vm shape); stop another machine, choose another "
        f"host (rocks set host vm {vm.name} physnode=HOST), or give it fewer CPUs (rocks set host vm {vm.name} "
        "cpus=NUMBER)",
        code=Code.HOST_FULL,
    )


def _all_cpus(facts: ShapeFact) -> frozenset[int]:
    return frozenset().union(*map(_cpus_of, facts.nodes))


def _cpus_of(node: NodeFact) -> frozenset[int]:
    return frozenset(cpu for core in node.cores for cpu in core)


# What the attributes of a virtual machine and of its host ask for: cores, huge pages, queues, PCI devices.
#
# Readers check again what `inventory.attributes.forms` checks when an attribute is set, since an earlier release
# stored any value.

Value = TypeVar("Value")


def read_request(vm: VirtualMachine, token: int) -> ShapeRequest:
    """What the machine asks of its container under this lease. StateError for a value that cannot be read."""
    container = container_of(vm)
    pinning = pinning_of(vm)
    lent = _read(container, "vm_pinned_cpus", read_cpu_set) if container.attribute("vm_pinned_cpus") else None
    return ShapeRequest(
        name=vm.name,
        host=container.name,
        token=token,
        cpus=vm.host.cpus,
        memory_mb=vm.memory_mb,
        pinning=pinning,
        fixed_cpus=_fixed_cpus(vm.host.attribute("kvm_cpu_pinning")) if pinning == "fixed" else frozenset(),
        page_kb=page_size_kb(vm),
        devices=_read(vm.host, "kvm_pci_devices", read_pci_requests),
        lent_cpus=lent,
        pools=_read(container, "vm_pci_pools", read_pci_pools),
        reserve_mb=memory_reserve_mb(container),
    )


def pinning_of(vm: VirtualMachine) -> str:
    """none, pin_all, numa, or fixed: pinned by the site's own XML."""
    text = vm.host.attribute("kvm_cpu_pinning")
    if text == "none":
        return text
    return text if text in PINNED else "fixed"


def page_size_kb(vm: VirtualMachine) -> int:
    """The size of the machine's huge pages in KiB; 0 for ordinary memory."""
    text = vm.host.attribute("kvm_hugepages")
    if text == "none":
        return 0
    if text not in PAGE_SIZES_KB:
        raise _not_valid(vm.host, "kvm_hugepages", "it must be 2M, 1G or none")
    return PAGE_SIZES_KB[text]


def queues_of(vm: VirtualMachine) -> int:
    """The queues of each virtio device: of a pinned machine one for each CPU, else one, unless `kvm_queues` says."""
    text = vm.host.attribute("kvm_queues") or ("cpus" if pinning_of(vm) in PINNED else "1")
    _read(vm.host, "kvm_queues", lambda _: check_queues(text))
    return min(vm.host.cpus, MAX_QUEUES) if text == "cpus" else int(text)


def iothreads_of(vm: VirtualMachine) -> int:
    """The threads of QEMU for virtio disks: one for a pinned machine, else none, unless `kvm_iothreads` says."""
    default = "1" if pinning_of(vm) in PINNED else "0"
    return _read(
        vm.host,
        "kvm_iothreads",
        lambda text: read_number("the number of threads", text or default, 0, MAX_IOTHREADS),
    )


def _fixed_cpus(text: str) -> frozenset[int]:
    """The CPUs that the site's own XML pins virtual CPUs to; none when it is not well-formed, which a start rejects."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    try:
        pins = etree.fromstring(f"<cputune>{text}</cputune>".encode(), parser).findall("vcpupin")
        return frozenset().union(*(read_cpu_set(pin.get("cpuset", "")) for pin in pins))
    except (etree.XMLSyntaxError, UserError):
        return frozenset()


def _read(host: Host, attribute: str, read: Callable[[str], Value]) -> Value:
    text = host.attribute(attribute)
    try:
        return read(text)
    except UserError as error:
        raise _not_valid(host, attribute, str(error)) from None


def _not_valid(host: Host, attribute: str, reason: str) -> StateError:
    return StateError(
        f'the attribute {attribute} of {host.name} cannot have the value "{printable(host.attribute(attribute))}": '
        f"{reason}; correct it: rocks set host attr {host.name} {attribute} VALUE"
    )
