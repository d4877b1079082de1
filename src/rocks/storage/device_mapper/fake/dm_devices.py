"""Device-mapper devices in memory, with the rules of `rules.py`."""

from __future__ import annotations

from typing import Callable, Optional, Set, Tuple

from rocks.core.clock import Deadline
from rocks.core.errors import StateError
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.storage.device_mapper.fake.kernel import FakeKernel
from rocks.storage.device_mapper.rules import (
    UUID_PREFIX,
    check_name,
    check_ours,
    check_reactivation,
    check_switch,
    check_table,
    needs_reactivation,
    no_device,
    not_extendable,
    not_suspended,
    other_table,
    shared_cow,
    still_open,
    too_short,
)
from rocks.storage.device_mapper.tables import (
    DmDeviceFact,
    ErrorTable,
    KnownTable,
    Linear,
    Overlay,
    Switched,
    Table,
    devices_of,
)


class FakeDmDevices(FakeKernel):
    """Device-mapper devices of a host in memory.

    `blocks` has the devices below. Tests open a device by `devices[name].holders`, prevent its suspension by its name
    in `restless`, and set its status by `devices[name].set_status`.
    """

    def __init__(self, find_device: Optional[Callable[[str], Optional[int]]] = None) -> None:
        super().__init__(find_device)
        self.restless: Set[str] = set()
        self.stall_seconds = 0.004

    def list(self) -> Tuple[DmDeviceFact, ...]:
        """As `DmDriver.list`."""
        facts = (self.read(name) for name in sorted(self.devices))
        return tuple(fact for fact in facts if fact is not None and fact.uuid == UUID_PREFIX + fact.name)

    def is_live(self, name: str, table: Table) -> bool:
        """As `DmDriver.is_live`."""
        check_table(table)
        fact = self.read(name)
        try:
            return fact is not None and fact.table == self._with_nodes(table)
        except StateError:
            return False

    def ensure(self, name: str, table: Table) -> Change:
        """As `DmDriver.ensure`."""
        check_name(name)
        check_table(table)
        fact = self.read(name)
        if fact is not None:
            check_ours(fact)
        if fact is None or fact.table is None:
            self._check_devices(name, table)
            self._check_cow_unshared(name, table)
            if fact is None:
                self.add(name, UUID_PREFIX + name)
            device = self.devices[name]
            device.table, device.loaded_table, device.is_suspended = self._with_nodes(table), None, False
            device.state = self._state_read_anew(device.table)
            return CHANGED
        requested = self._with_nodes(table)
        if fact.table != requested:
            raise other_table(fact, requested)
        return self._resume(name)

    def switch(self, name: str, table: Table, expected_live_table: Table) -> Switched:
        """As `DmDriver.switch`."""
        check_table(table)
        check_table(expected_live_table)
        fact = self._ours(name)
        requested = self._with_nodes(table)
        if fact.table == requested:
            return Switched(self._resume(name).changed, 0.0)
        expected = self._with_nodes(expected_live_table)
        if fact.table is None or fact.table != expected:
            raise other_table(fact, expected)
        check_switch(name, fact.table, requested, fact.status, self._base_of_origin(fact.table))
        self._check_devices(name, table)
        self._swap(name, requested)
        return Switched(True, self.stall_seconds)

    def ensure_extended(self, name: str) -> Change:
        """As `DmDriver.ensure_extended`."""
        fact = self._ours(name)
        if not isinstance(fact.table, Overlay) or needs_reactivation(fact):
            raise not_extendable(fact)
        self._swap(name, fact.table)
        if self.devices[name].state == "merge_failed":
            self.devices[name].state = "ok"
        return CHANGED

    def ensure_reactivated(self, name: str, table: Table) -> Change:
        """As `DmDriver.ensure_reactivated`."""
        check_table(table)
        fact = self._ours(name)
        overlay, error_table = check_reactivation(fact, table), ErrorTable(table.length_sectors)
        requested = self._with_nodes(overlay)
        if fact.table == requested and not needs_reactivation(fact):
            return self._resume(name)
        if fact.table not in (requested, error_table):
            raise other_table(fact, requested)
        self._swap(name, error_table)
        self.blocks.invalid.discard(self._node(overlay.cow))
        self._swap(name, requested)
        self.devices[name].state = self._state_read_anew(requested)
        return CHANGED

    def ensure_resumed(self, name: str) -> Change:
        """As `DmDriver.ensure_resumed`."""
        if self._ours(name).table is None:
            raise StateError(f"/dev/mapper/{name} has no table to resume")
        return self._resume(name)

    def ensure_gone(self, name: str, deadline: Deadline) -> Change:
        """As `DmDriver.ensure_gone`; it does not wait, because nothing closes the device meanwhile."""
        fact = self.read(name)
        if fact is None:
            return UNCHANGED
        check_ours(fact)
        if fact.open_count:
            raise still_open(fact)
        del self.devices[name]
        return CHANGED

    def _swap(self, name: str, table: KnownTable) -> None:
        device = self.devices[name]
        if name in self.restless:
            device.loaded_table, device.is_suspended = None, False
            raise not_suspended(name)
        device.table, device.loaded_table, device.is_suspended = table, None, False

    def _resume(self, name: str) -> Change:
        device = self.devices[name]
        changed = device.is_suspended or device.loaded_table is not None
        device.is_suspended, device.loaded_table = False, None
        return Change(changed)

    def _ours(self, name: str) -> DmDeviceFact:
        fact = self.read(name)
        if fact is None:
            raise no_device(name)
        check_ours(fact)
        return fact

    def _state_read_anew(self, table: KnownTable) -> str:
        return "invalid" if isinstance(table, Overlay) and table.cow in self.blocks.invalid else "ok"

    def _check_devices(self, name: str, table: Table) -> None:
        for place, path in enumerate(devices_of(table)):
            device = self._behind(path)
            below = device.table if device else None
            length = below.length_sectors if below else self.blocks.length(self._node(path)) or 0
            if place == 0 and length < table.length_sectors:
                raise too_short(name, path, length, table)

    def _check_cow_unshared(self, name: str, table: Table) -> None:
        if not isinstance(table, Overlay):
            return
        cow = self._node(table.cow)
        for other, device in self.devices.items():
            for known in (device.table, device.loaded_table):
                if other != name and isinstance(known, Overlay) and known.cow == cow:
                    raise shared_cow(table.cow, other)

    def _base_of_origin(self, table: KnownTable) -> str:
        if not isinstance(table, Overlay):
            return ""
        below = self._behind(table.origin)
        return below.table.device if below and isinstance(below.table, Linear) else table.origin
