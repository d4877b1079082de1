"""InfiniBand on a physical host: what a machine's function is to have, and what the host says of its adapters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Optional, Tuple

from rocks.wire.request import Request

KeyMembership = Literal["full", "limited"]
PkeyInterface = Literal["index_map", "vendor", "netlink"]
"""By what a virtual function is set: mlx4's map of key indexes, the files of mlx5's vendor driver, or netlink."""


@dataclass(frozen=True)
class PartitionSpec:
    """What a machine's InfiniBand function is to have: its cluster's key (low 15 bits) and GUIDs of its own.

    `port_guid` is that of its first port. With `manager_sees_machines` the subnet manager gives keys to the function
    itself; without, the function uses those of the physical port. GUIDs are 16 hexadecimal digits.
    """

    pkey: int
    membership: KeyMembership
    node_guid: str
    port_guid: str
    manager_sees_machines: bool = False


@dataclass(frozen=True)
class PortFact:
    """A physical port: its adapter's name, its number, GUID and state, and the keys of its table."""

    device: str
    number: int
    guid: str
    state: str
    keys: Tuple[int, ...]


@dataclass(frozen=True)
class VfFact:
    """A virtual function: its PCI address, adapter and number there, and by what it is set.

    `keys`: those that its guest sees, where the host can tell; `machine`: whose it was made.
    """

    address: str
    device: str
    number: int
    door: PkeyInterface
    keys: Optional[Tuple[int, ...]]
    machine: str


@dataclass(frozen=True)
class InfinibandFacts:
    """All of it, and `departures`: where the kernel's files are not as its documents say."""

    ports: Tuple[PortFact, ...]
    functions: Tuple[VfFact, ...]
    departures: Tuple[str, ...]


@dataclass(frozen=True)
class InfinibandRequest(Request[InfinibandFacts]):
    """Look at the adapters. With `tried_vf` that free function is written to, read back, and put back."""

    tried_vf: str = ""
