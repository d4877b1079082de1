"""Operations on virtual functions as a Protocol: `vfs.py` implements it by the kernel, `fake.py` in memory."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from rocks.fleet.host.change import Change
from rocks.fleet.wire.facts import AdapterFact
from rocks.fleet.wire.requests import VfSpec


class PlacedVf(NamedTuple):
    """A configured VF: its PCI address, as 0000:01:10.0, and whether it was changed."""

    address: str
    change: Change


class VfDriver(Protocol):
    """Virtual functions (VFs) of the host's network adapters."""

    def read(self, device: str) -> AdapterFact:
        """The adapter and its VFs; a missing adapter has a problem and no VFs. Read only."""

    def ensure_count(self, device: str, count: int) -> Change:
        """Create VFs up to this number.

        StateError when the adapter is missing, down, without SR-IOV, without IOMMU, or supports fewer; BusyError when
        a VF is in use, because the kernel changes their number by removing all of them first.
        """

    def ensure(self, spec: VfSpec) -> PlacedVf:
        """Configure the VF, and clear its MAC address from other free VFs.

        StateError as `ensure_count`; BusyError when the VF does not exist or is in use; ToolError when the adapter
        rejects a setting; UserError for an invalid number or address.
        """

    def ensure_free(self, spec: VfSpec) -> Change:
        """Reset the settings of the VF if it exists; the caller knows its owner. BusyError while it is in use.

        Its MAC address does not identify the owner: when the guest ends, libvirt 9.0 sets a MAC address of the host
        and the guest's VLAN.
        """
