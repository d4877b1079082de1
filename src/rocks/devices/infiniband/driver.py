"""What can be done with InfiniBand functions, as a shape: sysfs and netlink behind `pkeys.py`, memory in `fake/`."""

from __future__ import annotations

from typing import List, Protocol, Tuple

from rocks.devices.change import Change
from rocks.devices.infiniband.rules import InfinibandVf
from rocks.wire.infiniband import PartitionSpec, PortFact


class PkeyDriver(Protocol):
    """What both can do."""

    def is_vf(self, address: str) -> bool:
        """Whether there is a virtual function of an InfiniBand adapter at this PCI address."""

    def ensure(self, address: str, spec: PartitionSpec) -> Change:
        """Have the function see its cluster's key and no other cluster's, under its own GUIDs.

        Waits for the subnet manager, for a bounded time. StateError when the key does not come, when there is no such
        function, or when the adapter cannot do it; UserError for a key or GUID that cannot be.
        """

    def clear(self, address: str) -> Change:
        """Have the function see no key, or be without link where keys are not the host's to give."""

    def ports(self) -> List[PortFact]:
        """The physical ports of all adapters."""

    def vfs(self) -> List[InfinibandVf]:
        """The virtual functions of all adapters."""

    def visible_keys(self, address: str) -> Tuple[int, ...]:
        """The keys that the function's guest sees, by index. StateError where the host cannot tell."""
