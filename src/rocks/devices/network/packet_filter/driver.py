"""What can be done with packet filters, as a shape: netlink behind `filters.py`, memory behind `fake/filters.py`."""

from __future__ import annotations

from typing import Dict, NamedTuple, Protocol, Sequence, Tuple

from rocks.devices.change import Change
from rocks.devices.network.packet_filter.programs import Rule

Drops = Tuple[Tuple[str, int], ...]
"""(reason, frames dropped for it) of each rule, in order; empty where there is no filter."""


class GuestDevice(NamedTuple):
    """The host's side of a guest's interface: a macvtap, or a tap that is a bridge's port."""

    name: str
    is_macvtap: bool


class FilterDriver(Protocol):
    """What both can do."""

    def ensure(self, device: GuestDevice, rules: Sequence[Rule]) -> Change:
        """Have exactly these rules for what the guest sends, and have read them back.

        StateError when there is no such device, ToolError when the kernel refuses, IncoherentError when it has
        other rules afterwards. A rule that stays is not taken away meanwhile.
        """

    def read(self, devices: Sequence[GuestDevice]) -> Dict[str, Drops]:
        """Device → what its rules have dropped; devices that do not exist are left out."""

    def works(self) -> bool:
        """Whether the kernel has what filters need, loading its modules if need be."""

    def addresses(self) -> Tuple[str, ...]:
        """The host's own IPv4 addresses, sorted, but for that of the loopback device."""
