"""Which cores, memory and PCI devices of its host a virtual machine gets for itself: from facts and leases. Pure.

A core, a huge page and a device are leased to one machine at a time. A machine that continues an interrupted start
under the same lease gets what it had.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import Code, StateError
from rocks.machine.placement.devices import plan_pci_devices
from rocks.machine.placement.numa_memory import ORDINARY_KB, fits, split_pages, why_no_memory
from rocks.machine.placement.shapes import Cell, CoreRow, PageRow, Placement, ShapeLeases

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rocks.fleet.wire.placement import NodeFact, ShapeFact
    from rocks.machine.placement.shapes import ShapeRequest


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
    """The same number of CPUs on each of as few nodes as possible; those with the fewest free cores that suffice."""
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
    raise _too_few(vm, facts, others, free)


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
        raise _too_few(vm, facts, others, free)
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


def _too_few(
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
