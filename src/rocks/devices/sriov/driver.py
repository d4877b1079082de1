"""What can be done with virtual functions, as a shape: the kernel behind `vfs.py`, memory behind the fake."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from rocks.devices.change import Change
from rocks.wire.agent import VfSpec
from rocks.wire.facts import AdapterFact


class PlacedVf(NamedTuple):
    """Where a function is: its PCI address, as in 0000:01:10.0, and what had to be changed."""

    address: str
    change: Change


class VfDriver(Protocol):
    """What both can do."""

    def read(self, device: str) -> AdapterFact:
        """The adapter and its functions; one that is not there has a problem and no functions. Changes nothing."""

    def ensure_count(self, device: str, count: int) -> Change:
        """Have at least so many functions.

        StateError when the adapter is missing, down, without SR-IOV, without IOMMU, or gives fewer; BusyError when
        there are fewer functions and one of them is in use, for the kernel changes their number by removing all first.
        """

    def ensure(self, spec: VfSpec) -> PlacedVf:
        """Have the function as wanted, and no other free function with its MAC address.

        StateError as `ensure_count`; BusyError when it is not there, or is in use; ToolError when the adapter does not
        take a setting; UserError for a number or address that cannot be.
        """

    def ensure_free(self, spec: VfSpec) -> Change:
        """Have the function be nobody's, if it is there; the caller knows whose it was. BusyError while it is in use.

        Its MAC address tells nothing: libvirt 9.0 puts an address of the host's own into it when the guest ends, and
        the guest's VLAN again.
        """
