"""Adapters with VFs in memory, with the rules of `rules.py`; the contract tests run on them and on the kernel."""

from __future__ import annotations

from dataclasses import replace

from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.fleet.wire.facts import AdapterFact, VfFact, VfUse
from rocks.fleet.wire.requests import VfSpec
from rocks.network.host.rules import check_device_name
from rocks.network.sriov.host.rules import (
    NO_MAC,
    Adapter,
    PlacedVf,
    Settings,
    check_adapter,
    check_count,
    check_unused,
    check_vf_spec,
    free_settings,
    problem_of,
    setting_rejected,
    settings_of,
    settings_that_differ,
    vf_of,
)


class FakeVfs:
    """Adapters of a host (`VfDriver`); `refused` names settings that their driver rejects."""

    def __init__(self) -> None:
        self.adapters: dict[str, Adapter] = {}
        self.refused: list[str] = []

    def add(self, device: str, most: int = 7, *, is_up: bool = True, has_iommu: bool = True) -> None:
        """Add an adapter."""
        self.adapters[device] = Adapter(device, is_up, most, has_iommu, ())

    def use(self, device: str, number: int, user: str) -> None:
        """Mark a VF as used, or as free by an empty `user`."""
        use: VfUse = "free" if not user else "guest" if user.startswith("the guest") else "host"
        vf = vf_of(self.adapters[device], number)
        self._put(device, replace(vf, use=use, user=user))

    def read(self, device: str) -> AdapterFact:
        check_device_name(device)
        adapter = self.adapters.get(device)
        problem = problem_of(device, adapter)
        if adapter is None:
            return AdapterFact(device, 0, problem, ())
        return AdapterFact(device, adapter.most, problem, adapter.vfs)

    def ensure_count(self, device: str, count: int) -> Change:
        check_device_name(device)
        adapter = check_adapter(device, self.adapters.get(device))
        if len(adapter.vfs) >= count:
            return UNCHANGED
        check_count(adapter, count)
        # addresses as with igb: every second function of the bus after the adapter's own
        fresh = (
            VfFact(number, f"0000:01:10.{2 * number}", NO_MAC, 0, True, False, "free", "")
            for number in range(count)
        )
        self.adapters[device] = adapter._replace(vfs=tuple(fresh))
        return CHANGED

    def ensure(self, spec: VfSpec) -> PlacedVf:
        check_vf_spec(spec)
        adapter = check_adapter(spec.device, self.adapters.get(spec.device))
        vf = vf_of(adapter, spec.number)
        check_unused(spec, adapter)
        changed = False
        for other in adapter.vfs:
            if other.mac == spec.mac and other.number != spec.number:
                changed |= self._set(spec.device, other, free_settings())
        changed |= self._set(spec.device, vf, settings_of(spec))
        return PlacedVf(vf.address, Change(changed))

    def ensure_free(self, spec: VfSpec) -> Change:
        check_vf_spec(spec)
        adapter = self.adapters.get(spec.device)
        vf = next((one for one in (adapter.vfs if adapter else ()) if one.number == spec.number), None)
        if adapter is None or vf is None:
            return UNCHANGED
        check_unused(spec, adapter._replace(vfs=(vf,)))
        return Change(self._set(spec.device, vf, free_settings()))

    def _set(self, device: str, vf: VfFact, requested: Settings) -> bool:
        changes = settings_that_differ(vf, requested)
        for name in changes:
            if name in self.refused:
                raise setting_rejected(device, vf.number, name, "Operation not supported")
        changed = replace(
            vf,
            mac=str(changes.get("mac", vf.mac)),
            vlan=int(changes.get("vlan", vf.vlan)),
            checks_source=bool(changes.get("spoofchk", vf.checks_source)),
            is_trusted=bool(changes.get("trust", vf.is_trusted)),
        )
        self._put(device, changed)
        return bool(changes)

    def _put(self, device: str, vf: VfFact) -> None:
        adapter = self.adapters[device]
        vfs = tuple(vf if one.number == vf.number else one for one in adapter.vfs)
        self.adapters[device] = adapter._replace(vfs=vfs)
