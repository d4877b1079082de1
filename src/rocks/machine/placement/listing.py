"""The listing of what machines have of their hosts for themselves. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.units import KIB_PER_MB
from rocks.machine.placement.memory import ORDINARY_KB
from rocks.machine.placement.values import PAGE_SIZES_KB, write_cpu_set

if TYPE_CHECKING:
    from rocks.machine.placement.memory import PageRow
    from rocks.machine.placement.plan import ShapeLeases

_SIZES = {kb: name for name, kb in PAGE_SIZES_KB.items()}


class ShapeRow(NamedTuple):
    """A line of the listing; what the machine has none of is None."""

    name: str
    host: str | None
    cpus: str | None
    memory: str | None
    devices: str | None


def shape_rows(leases: ShapeLeases) -> list[ShapeRow]:
    """One row for each machine and host, by name."""
    holders = {(row.name, row.host) for rows in leases for row in rows}
    return [_row(name, host, leases.on(host)) for name, host in sorted(holders)]


def _row(name: str, host: str, leases: ShapeLeases) -> ShapeRow:
    cpus = write_cpu_set(row.cpu for row in leases.cores if row.name == name)
    memory = ", ".join(_memory(row) for row in leases.pages if row.name == name)
    devices = ", ".join(f"{row.pool} {row.address}" for row in leases.devices if row.name == name)
    return ShapeRow(name, host, cpus or None, memory or None, devices or None)


def _memory(row: PageRow) -> str:
    size = "" if row.size_kb == ORDINARY_KB else f" in {_SIZES.get(row.size_kb, f'{row.size_kb} KiB')}"
    return f"{row.pages * row.size_kb // KIB_PER_MB} MB{size} on node {row.node}"
