"""Memory of a host's NUMA nodes for virtual machines: huge pages, and ordinary memory that is bound to a node. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import Code, StateError
from rocks.core.units import KIB_PER_MB
from rocks.machine.placement.values import PAGE_SIZES_KB

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rocks.fleet.wire.placement import NodeFact
    from rocks.machine.placement.shapes import PageRow, ShapeRequest

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
