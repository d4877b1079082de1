"""Packet filters in memory: the rules of each device. What they let through is tested on the kernel alone."""

from __future__ import annotations

from collections.abc import Sequence

from rocks.core.errors import StateError, ToolError
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.network.host.packet_filter import Drops, GuestDevice, Rule


class FakeFilters:
    """A kernel with or without packet filters (`FilterDriver`); `missing` names devices that do not exist."""

    def __init__(self, knows_filters: bool = True, addresses: tuple[str, ...] = ()) -> None:
        self.rules: dict[str, list[Rule]] = {}
        self.dropped: dict[tuple[str, str], int] = {}
        self.missing: list[str] = []
        self._knows_filters = knows_filters
        self._addresses = addresses

    def ensure(self, device: GuestDevice, rules: Sequence[Rule]) -> Change:
        if rules and device.name in self.missing:
            raise StateError(f"this host has no network device {device.name}")
        if rules and not self._knows_filters:
            raise ToolError(f"the kernel of this host did not filter {device.name}: Operation not supported")
        if self.rules.get(device.name, []) == list(rules):
            return UNCHANGED
        self.rules[device.name] = list(rules)
        return CHANGED

    def read(self, devices: Sequence[GuestDevice]) -> dict[str, Drops]:
        return {
            device.name: self._drops(device.name) for device in devices if device.name not in self.missing
        }

    def works(self) -> bool:
        return self._knows_filters

    def addresses(self) -> tuple[str, ...]:
        return self._addresses

    def _drops(self, device: str) -> Drops:
        reasons = dict.fromkeys(rule.reason for rule in self.rules.get(device, ()) if rule.reason)
        return tuple((reason, self.dropped.get((device, reason), 0)) for reason in reasons)
