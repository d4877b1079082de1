"""Operations on InfiniBand VFs as a Protocol: `pkeys.py` implements it by sysfs and netlink, `fake.py` in memory."""

from __future__ import annotations

from typing import List, Protocol, Tuple

from rocks.fleet.host.change import Change
from rocks.fleet.wire.infiniband import PartitionSpec, PortFact
from rocks.network.infiniband.host.pkey_rules import InfinibandVf


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
