"""InfiniBand on a physical host: the settings of a machine's VF, and facts about the adapters."""

from __future__ import annotations

from typing import Literal, Optional, Tuple

from rocks.core.dataclasses import dataclass
from rocks.fleet.wire.request import Request

KeyMembership = Literal["full", "limited"]
PkeyInterface = Literal["index_map", "vendor", "netlink"]
"""The kernel interface that configures a VF: mlx4's map of key indexes, files of mlx5's vendor driver, or netlink."""


@dataclass(frozen=True)
class PartitionSpec:
    """The settings of a machine's InfiniBand VF: the key of its cluster (low 15 bits), and its own GUIDs.

    `port_guid` is the GUID of its first port. With `manager_sees_machines` the subnet manager gives keys to the VF
    itself; otherwise the VF uses the keys of the physical port. GUIDs are 16 hexadecimal digits.
    """

    pkey: int
    membership: KeyMembership
    node_guid: str
    port_guid: str
    manager_sees_machines: bool = False


@dataclass(frozen=True)
class PortFact:
    """A physical port: the name of its adapter, its number, GUID and state, and the keys of its table."""

    device: str
    number: int
    guid: str
    state: str
    keys: Tuple[int, ...]


@dataclass(frozen=True)
class VfFact:
    """A virtual function: its PCI address, adapter, number on the adapter, and configuring interface.

    `keys`: the keys that its guest sees, None where the host cannot read them; `machine`: the machine that it was
    assigned to.
    """

    address: str
    device: str
    number: int
    interface: PkeyInterface
    keys: Optional[Tuple[int, ...]]
    machine: str


@dataclass(frozen=True)
class InfinibandFacts:
    """Ports and VFs; `departures` lists deviations of the kernel's files from its documentation."""

    ports: Tuple[PortFact, ...]
    vfs: Tuple[VfFact, ...]
    departures: Tuple[str, ...]


@dataclass(frozen=True)
class InfinibandRequest(Request[InfinibandFacts]):
    """Read the adapters. With `tried_vf`, that free VF is written, read back, and restored."""

    tried_vf: str = ""
