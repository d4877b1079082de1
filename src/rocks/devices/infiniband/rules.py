"""Which physical key a guest sees at which index, and what is refused; pure.

A guest gets its cluster's key at index 0 and the default partition's limited key, where the port has it, at index 1:
by that one it reaches the subnet manager and nobody else's guests. Every other index shows nothing.
"""

from __future__ import annotations

import re
from typing import Dict, Mapping, NamedTuple, Optional

from rocks.errors import StateError, UserError
from rocks.wire.infiniband import PartitionSpec, PkeyInterface

FULL_BIT = 0x8000
DEFAULT_LIMITED = 0x7FFF
KEY_DEADLINE_SECONDS = 15.0

_ADDRESS = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\Z")
_GUID = re.compile(r"[0-9a-f]{16}\Z")


class InfinibandVf(NamedTuple):
    """A virtual function of an InfiniBand adapter: PCI address, adapter, number, door, the adapter's network device."""

    address: str
    device: str
    number: int
    interface: PkeyInterface
    link: str = ""


def check_address(address: str) -> str:
    """UserError unless it is a PCI address, as 0000:03:00.1."""
    if not _ADDRESS.match(address):
        raise UserError(f"{address[:40]!r} is no PCI address such as 0000:03:00.1")
    return address


def check_partition(spec: PartitionSpec) -> None:
    """UserError unless such a key and such GUIDs can be."""
    if not 1 <= spec.pkey < DEFAULT_LIMITED:
        raise UserError(f"0x{spec.pkey:04x} is no partition key of a cluster")
    for guid in (spec.node_guid, spec.port_guid):
        if not _GUID.match(guid):
            raise UserError(f"{guid[:40]!r} is no GUID of 16 hexadecimal digits")


def key_of(spec: PartitionSpec) -> int:
    """The key as it stands in a port's table: with the bit of full members, or without."""
    return spec.pkey | FULL_BIT if spec.membership == "full" else spec.pkey


def plan_map(
    table: Mapping[int, int], length: int, spec: PartitionSpec
) -> Optional[Dict[int, Optional[int]]]:
    """Virtual index → physical index, or None for nothing; None for all when the port has not got the key.

    `table` maps a physical index to the key there.
    """
    places = {key: index for index, key in sorted(table.items(), reverse=True)}
    if key_of(spec) not in places:
        return None
    shown: Dict[int, Optional[int]] = dict.fromkeys(range(length))
    for index, key in enumerate((key_of(spec), DEFAULT_LIMITED)):
        if index < length:
            shown[index] = places.get(key)
    return shown


def port_guid(spec: PartitionSpec, port: int) -> str:
    """GUID of the function's port of that number; the first one's is given, the next ones follow it."""
    return f"{int(spec.port_guid, 16) + port - 1:016x}"


def no_vf(address: str) -> StateError:
    """The error for an address behind which there is no virtual function of an InfiniBand adapter."""
    return StateError(f"this host has no virtual function of an InfiniBand adapter at {address}")


def key_is_missing(vf: InfinibandVf, spec: PartitionSpec) -> StateError:
    """The error for a port to which the subnet manager has not given the key."""
    return StateError(
        f"the subnet manager has not given the key 0x{key_of(spec):04x} to {vf.device} of this host within "
        f"{KEY_DEADLINE_SECONDS:g} s: is opensm running, and does rocks list host ibport have this port? "
        "Then rocks sync ib partitions"
    )


def needs_virtual_manager(vf: InfinibandVf) -> StateError:
    """The error for an adapter whose functions get their keys from the subnet manager alone."""
    return StateError(
        f"{vf.device} of this host has no map of key indexes: its virtual functions get their keys from a "
        "subnet manager that sees them: rocks set attr ib_sm virtual, or give this machine no such function"
    )
