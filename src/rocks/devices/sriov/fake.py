"""Adapters with virtual functions in memory, under `rules.py`; held to the kernel by `tests/contract/devices`."""

from __future__ import annotations

from dataclasses import replace
from typing import Dict, List, Optional

from rocks.devices.change import CHANGED, UNCHANGED, Change
from rocks.devices.sriov.driver import PlacedVf
from rocks.devices.sriov.rules import (
    NO_MAC,
    Adapter,
    Settings,
    check_adapter,
    check_count,
    check_device,
    check_function,
    nobodys_settings,
    not_set,
    problem_of,
    refuse_used,
    settings_of,
    settings_that_differ,
    vf_of,
)
from rocks.wire.agent import VfSpec
from rocks.wire.facts import AdapterFact, VfFact, VfUse


class FakeVfs:
    """A host's adapters; `refused` are settings that their driver does not take."""

    def __init__(self) -> None:
        self.adapters: Dict[str, Adapter] = {}
        self.refused: List[str] = []

    def add(self, device: str, most: int = 7, *, is_up: bool = True, has_iommu: bool = True) -> None:
        """An adapter that somebody put in."""
        self.adapters[device] = Adapter(device, is_up, most, has_iommu, ())

    def use(self, device: str, number: int, user: str) -> None:
        """Somebody takes a function, or (an empty user) lets it go."""
        use: VfUse = "free" if not user else "guest" if user.startswith("the guest") else "host"
        function = vf_of(self.adapters[device], number)
        self._put(device, replace(function, use=use, user=user))

    def read(self, device: str) -> AdapterFact:
        """As `VfDriver.read`."""
        check_device(device)
        adapter = self.adapters.get(device)
        problem = problem_of(device, adapter)
        if adapter is None:
            return AdapterFact(device, 0, problem, ())
        return AdapterFact(device, adapter.most, problem, adapter.functions)

    def ensure_count(self, device: str, count: int) -> Change:
        """As `VfDriver.ensure_count`."""
        check_device(device)
        adapter = check_adapter(device, self.adapters.get(device))
        if len(adapter.functions) >= count:
            return UNCHANGED
        check_count(adapter, count)
        # Numbered as igb's are: every second function of the bus behind the adapter's own device.
        fresh = (
            VfFact(number, f"0000:01:10.{2 * number}", NO_MAC, 0, True, False, "free", "")
            for number in range(count)
        )
        self.adapters[device] = adapter._replace(functions=tuple(fresh))
        return CHANGED

    def ensure(self, wanted: VfSpec) -> PlacedVf:
        """As `VfDriver.ensure`."""
        check_function(wanted)
        adapter = check_adapter(wanted.device, self.adapters.get(wanted.device))
        function = vf_of(adapter, wanted.number)
        refuse_used(wanted, adapter)
        changed = False
        for other in adapter.functions:
            if other.mac == wanted.mac and other.number != wanted.number:
                changed |= self._set(wanted.device, other, nobodys_settings())
        changed |= self._set(wanted.device, function, settings_of(wanted))
        return PlacedVf(function.address, Change(changed))

    def ensure_free(self, wanted: VfSpec) -> Change:
        """As `VfDriver.ensure_free`."""
        check_function(wanted)
        adapter = self.adapters.get(wanted.device)
        function = self._find(adapter, wanted.number)
        if adapter is None or function is None:
            return UNCHANGED
        refuse_used(wanted, adapter._replace(functions=(function,)))
        return Change(self._set(wanted.device, function, nobodys_settings()))

    def _find(self, adapter: Optional[Adapter], number: int) -> Optional[VfFact]:
        functions = adapter.functions if adapter else ()
        return next((one for one in functions if one.number == number), None)

    def _set(self, device: str, function: VfFact, wanted: Settings) -> bool:
        changes = settings_that_differ(function, wanted)
        for name in changes:
            if name in self.refused:
                raise not_set(device, function.number, name, "Operation not supported")
        changed = replace(
            function,
            mac=str(changes.get("mac", function.mac)),
            vlan=int(changes.get("vlan", function.vlan)),
            checks_source=bool(changes.get("spoofchk", function.checks_source)),
            is_trusted=bool(changes.get("trust", function.is_trusted)),
        )
        self._put(device, changed)
        return bool(changes)

    def _put(self, device: str, function: VfFact) -> None:
        adapter = self.adapters[device]
        functions = tuple(function if one.number == function.number else one for one in adapter.functions)
        self.adapters[device] = adapter._replace(functions=functions)
