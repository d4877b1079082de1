"""Packet filters as a Protocol: `traffic_control.py` implements it by netlink, `tests/fakes` in memory."""

from __future__ import annotations

from typing import Dict, NamedTuple, Protocol, Sequence, Tuple

from rocks.fleet.host.change import Change
from rocks.network.host.packet_filter.programs import Rule

Drops = Tuple[Tuple[str, int], ...]
"""(reason, dropped frames) of each rule, in order; empty without a filter."""


class GuestDevice(NamedTuple):
    """The host device of a guest's interface: a macvtap, or a tap that is a port of a bridge."""

    name: str
    is_macvtap: bool


class FilterDriver(Protocol):
    """Packet filters on the devices of guests."""

    def ensure(self, device: GuestDevice, rules: Sequence[Rule]) -> Change:
        """Set exactly these rules for frames that the guest sends, and read them back.

        StateError when the device does not exist, ToolError when the kernel rejects a rule, IncoherentError when the
        rules read back differ. A rule that stays is not removed in between.
        """

    def read(self, devices: Sequence[GuestDevice]) -> Dict[str, Drops]:
        """Device → frames dropped by its rules; devices that do not exist are omitted."""

    def works(self) -> bool:
        """Whether the kernel supports packet filters; loads modules if necessary."""

    def addresses(self) -> Tuple[str, ...]:
        """The host's IPv4 addresses, sorted, without that of the loopback device."""
