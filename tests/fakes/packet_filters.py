"""Packet filters in memory: the rules of each device, and the frames that pass them."""

from __future__ import annotations

from collections.abc import Sequence

from rocks.core.errors import StateError, ToolError
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.network.host.packet_filter.driver import Drops, GuestDevice
from rocks.network.host.packet_filter.programs import Rule
from tests.fakes.bpf import matches


class FakeFilters:
    """A kernel with or without packet filters (`FilterDriver`); `missing` names devices that do not exist."""

    def __init__(self, knows_filters: bool = True, addresses: tuple[str, ...] = ()) -> None:
        self.rules: dict[str, list[Rule]] = {}
        self.dropped: dict[tuple[str, str], int] = {}
        self.missing: list[str] = []
        self._knows_filters = knows_filters
        self._addresses = addresses

    def ensure(self, device: GuestDevice, rules: Sequence[Rule]) -> Change:
        if device.name in self.missing:
            raise StateError(f"this host has no network device {device.name}")
        if not self._knows_filters:
            raise ToolError(f"the kernel of this host did not filter {device.name}: Operation not supported")
        if self.rules.get(device.name) == list(rules):
            return UNCHANGED
        self.rules[device.name] = list(rules)
        return CHANGED

    def read(self, devices: Sequence[GuestDevice]) -> dict[str, Drops]:
        return {
            device.name: tuple(
                (rule.reason, self.dropped.get((device.name, rule.reason), 0))
                for rule in self.rules.get(device.name, ())
            )
            for device in devices
            if device.name not in self.missing
        }

    def works(self) -> bool:
        return self._knows_filters

    def addresses(self) -> tuple[str, ...]:
        return self._addresses

    def send(self, device: str, frame: bytes) -> bool:
        """Send a frame as the guest; whether it passes the filter."""
        for rule in self.rules.get(device, ()):
            if matches(rule.program, frame):
                self.dropped[device, rule.reason] = self.dropped.get((device, rule.reason), 0) + 1
                return False
        return True
