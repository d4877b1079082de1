"""InfiniBand VFs in memory, with the rules of `pkey_rules.py`; the contract tests run on them and on a sysfs tree."""

from __future__ import annotations

from rocks.core.errors import StateError
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.fleet.wire.requests import PartitionSpec, PortFact
from rocks.network.infiniband.host.pkey_rules import (
    InfinibandVf,
    check_address,
    check_partition,
    key_is_missing,
    no_key_map_error,
    no_vf,
    plan_map,
    port_guid,
)
from rocks.network.infiniband.host.pkeys import KEY_DEADLINE_SECONDS


class FakePkeys:
    """`PkeyDriver` in memory: one port each. `tables`: P_Keys of ports by device; `maps`, `guids`: those of VFs."""

    map_length = 8

    def __init__(self) -> None:
        self.tables: dict[str, dict[int, int]] = {}
        self.found: dict[str, InfinibandVf] = {}
        self.maps: dict[str, dict[int, int | None]] = {}
        self.guids: dict[str, str] = {}

    def is_vf(self, address: str) -> bool:
        return check_address(address) in self.found

    def ensure(self, address: str, spec: PartitionSpec) -> Change:
        check_partition(spec)
        vf = self._must_find(address)
        if vf.interface != "index_map":
            if not spec.manager_sees_machines:
                raise no_key_map_error(vf)
            return self._set(address, {}, spec.port_guid)
        plan = plan_map(self.tables[vf.device], self.map_length, spec)
        if plan is None:
            raise key_is_missing(vf, spec, KEY_DEADLINE_SECONDS)
        return self._set(address, plan, port_guid(spec, 1))

    def clear(self, address: str) -> Change:
        self._must_find(address)
        return self._set(address, dict.fromkeys(range(self.map_length)), self.guids.get(address, ""))

    def ports(self) -> list[PortFact]:
        return [
            PortFact(device, 1, f"{number:016x}", "4: ACTIVE", tuple(key for _, key in sorted(table.items())))
            for number, (device, table) in enumerate(sorted(self.tables.items()), 1)
        ]

    def vfs(self) -> list[InfinibandVf]:
        return sorted(self.found.values())

    def visible_keys(self, address: str) -> tuple[int, ...]:
        vf = self._must_find(address)
        if vf.interface != "index_map":
            raise StateError(f"{vf.device} of this host does not report the keys of {address}")
        table = self.tables[vf.device]
        indexes = [index for _, index in sorted(self.maps[address].items()) if index is not None]
        return tuple(table[index] for index in indexes if index in table)

    def add(self, vf: InfinibandVf, visible: dict[int, int | None] | None = None) -> None:
        """Add a VF in its initial state: mlx4 maps only physical index 0."""
        self.found[vf.address] = vf
        self.maps[vf.address] = {**dict.fromkeys(range(self.map_length)), 0: 0, **(visible or {})}

    def _set(self, address: str, visible: dict[int, int | None], guid: str) -> Change:
        before = (self.maps.get(address), self.guids.get(address))
        self.maps[address] = visible
        self.guids[address] = guid
        return UNCHANGED if before == (visible, guid) else CHANGED

    def _must_find(self, address: str) -> InfinibandVf:
        vf = self.found.get(check_address(address))
        if vf is None:
            raise no_vf(address)
        return vf
