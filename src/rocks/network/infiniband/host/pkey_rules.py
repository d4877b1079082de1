"""InfiniBand VFs as a Protocol: `pkeys.py` implements it by sysfs and netlink, `tests/fakes` in memory."""

from __future__ import annotations

import re
from typing import Dict, List, Mapping, NamedTuple, Optional, Protocol, Tuple

from rocks.core.errors import StateError, UserError
from rocks.fleet.host.change import Change
from rocks.fleet.wire.requests import PartitionSpec, PkeyInterface, PortFact


class PkeyDriver(Protocol):
    """P_Keys and GUIDs of the VFs of a host."""

    def is_vf(self, address: str) -> bool:
        """Whether this PCI address is a VF of an InfiniBand adapter."""

    def ensure(self, address: str, spec: PartitionSpec) -> Change:
        """Give the VF its GUIDs and only the P_Key of its cluster.

        Waits for the subnet manager, for a bounded time. StateError when the key does not arrive, when there is no such
        VF, or when the adapter does not support it; UserError for an invalid key or GUID.
        """

    def clear(self, address: str) -> Change:
        """Remove all keys from the VF; where the host does not control keys, set its link down."""

    def ports(self) -> List[PortFact]:
        """The physical ports of all adapters."""

    def vfs(self) -> List[InfinibandVf]:
        """The VFs of all adapters."""

    def visible_keys(self, address: str) -> Tuple[int, ...]:
        """The keys that the guest sees, by index. StateError where the host cannot read them."""


# The map of P_Key indexes of a guest, and checks of requests; pure.
#
# A guest gets its cluster's key at index 0 and the limited key of the default partition, if the port has it, at index
# 1: with that key it reaches the subnet manager but no other guests. All other indexes are empty.


FULL_BIT = 0x8000
DEFAULT_LIMITED = 0x7FFF

_ADDRESS = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\Z")
_GUID = re.compile(r"[0-9a-f]{16}\Z")


class InfinibandVf(NamedTuple):
    """A VF: PCI address, adapter, number, interface that configures it, network device of the adapter."""

    address: str
    device: str
    number: int
    interface: PkeyInterface
    link: str = ""


def check_address(address: str) -> str:
    """UserError unless it is a PCI address, as 0000:03:00.1."""
    if not _ADDRESS.match(address):
        raise UserError(f"{address[:40]!r} is not a PCI address such as 0000:03:00.1")
    return address


def check_partition(spec: PartitionSpec) -> None:
    """UserError unless key and GUIDs are valid."""
    if not 1 <= spec.pkey < DEFAULT_LIMITED:
        raise UserError(f"0x{spec.pkey:04x} is not a partition key of a cluster")
    for guid in (spec.node_guid, spec.port_guid):
        if not _GUID.match(guid):
            raise UserError(f"{guid[:40]!r} is not a GUID of 16 hexadecimal digits")


def key_of(spec: PartitionSpec) -> int:
    """The P_Key as in a port's table: with or without the full membership bit."""
    return spec.pkey | FULL_BIT if spec.membership == "full" else spec.pkey


def plan_map(
    table: Mapping[int, int], length: int, spec: PartitionSpec
) -> Optional[Dict[int, Optional[int]]]:
    """Virtual index → physical index (None: empty); None instead of a map when the port does not have the key.

    `table`: physical index → key.
    """
    index_of = {key: index for index, key in sorted(table.items(), reverse=True)}
    if key_of(spec) not in index_of:
        return None
    visible: Dict[int, Optional[int]] = dict.fromkeys(range(length))
    for index, key in enumerate((key_of(spec), DEFAULT_LIMITED)):
        if index < length:
            visible[index] = index_of.get(key)
    return visible


def port_guid(spec: PartitionSpec, port: int) -> str:
    """GUID of the VF's port of that number; `spec.port_guid` is that of port 1, the others follow."""
    return f"{int(spec.port_guid, 16) + port - 1:016x}"


def no_vf(address: str) -> StateError:
    """The error for an address that is not a VF of an InfiniBand adapter."""
    return StateError(f"this host has no virtual function of an InfiniBand adapter at {address}")


def key_is_missing(vf: InfinibandVf, spec: PartitionSpec, waited_seconds: float) -> StateError:
    """The error for a port that has not received the key from the subnet manager."""
    return StateError(
        f"the subnet manager has not given the key 0x{key_of(spec):04x} to {vf.device} of this host within "
        f"{waited_seconds:g} s: check that opensm runs and that rocks list host ibport lists this port, then "
        "run rocks sync ib partitions"
    )


def no_key_map_error(vf: InfinibandVf) -> StateError:
    """The error for an adapter whose VFs get their keys from the subnet manager only."""
    return StateError(
        f"{vf.device} of this host has no map of key indexes, so its virtual functions get their keys from the "
        "subnet manager; run rocks set attr ib_sm virtual, or remove the virtual function from this machine"
    )
