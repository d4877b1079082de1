"""Facts about the CPUs, memory and PCI devices of a physical host, by NUMA node."""

from __future__ import annotations

from typing import Optional, Tuple

from rocks.core.dataclasses import dataclass


@dataclass(frozen=True)
class PagesFact:
    """Huge pages of `size_kb` KiB on a node: how many are reserved, and how many of these are not in use."""

    size_kb: int
    total: int
    free: int


@dataclass(frozen=True)
class NodeFact:
    """A NUMA node: its memory in KiB, its cores, each as the CPUs that are its threads, and its huge pages.

    Only CPUs that are online, in order.
    """

    number: int
    memory_kb: int
    cores: Tuple[Tuple[int, ...], ...]
    pages: Tuple[PagesFact, ...] = ()


@dataclass(frozen=True)
class PciFact:
    """A PCI device by its address (0000:3b:00.0); `group` is its IOMMU group, None without an IOMMU."""

    address: str
    exists: bool
    group: Optional[int] = None


@dataclass(frozen=True)
class ShapeFact:
    """The nodes of a host in order, the devices that were asked for, and whether guests need AMD's `topoext`."""

    nodes: Tuple[NodeFact, ...]
    devices: Tuple[PciFact, ...] = ()
    has_topoext: bool = False


@dataclass(frozen=True)
class ShapeQuestion:
    """Report the nodes, and the PCI devices with these addresses."""

    devices: Tuple[str, ...] = ()
