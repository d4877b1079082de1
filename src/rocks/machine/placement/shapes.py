"""What virtual machines ask of their hosts' cores, memory and PCI devices, what is leased, and what they get. Pure.

Types only, apart from `plan` and `records`: a start of a machine without a placement imports no more than these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


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
        """Those of the machine under this token."""
        return self._selected(lambda row: (row.name.lower(), row.token) == (name.lower(), token))

    def on(self, host: str) -> ShapeLeases:
        """Those of the host."""
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
