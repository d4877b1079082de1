"""Device-mapper devices: created, compared, switched below a running guest, and removed.

`facts.py` reads the kernel's tables, `loading.py` changes them. `fake/` implements the same Protocol in memory.
"""

from __future__ import annotations

from typing import Optional, Tuple

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import StateError
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.storage.device_mapper import nodes
from rocks.storage.device_mapper.cow import ensure_valid
from rocks.storage.device_mapper.facts import (
    base_of_origin,
    check_cow_unshared,
    check_devices,
    device_mapper,
    read_all_ours,
    read_device,
    read_ours,
    with_kernel_nodes,
)
from rocks.storage.device_mapper.loading import activate, create, remove, resume, swap
from rocks.storage.device_mapper.rules import (
    check_name,
    check_ours,
    check_reactivation,
    check_switch,
    check_table,
    needs_reactivation,
    not_extendable,
    other_table,
    still_open,
)
from rocks.storage.device_mapper.tables import DmDeviceFact, ErrorTable, Overlay, Switched, Table

_POLL_SECONDS = 0.02


class DmDevices:
    """The device-mapper devices of this host."""

    def read(self, name: str) -> Optional[DmDeviceFact]:
        """As `DmDriver.read`."""
        check_name(name)
        with device_mapper(f"report /dev/mapper/{name}") as control:
            return read_device(control, name)

    def list(self) -> Tuple[DmDeviceFact, ...]:
        """As `DmDriver.list`."""
        with device_mapper("list its devices") as control:
            return read_all_ours(control)

    def is_live(self, name: str, table: Table) -> bool:
        """As `DmDriver.is_live`."""
        check_table(table)
        fact = self.read(name)
        try:
            return fact is not None and fact.table == with_kernel_nodes(table)
        except StateError:
            return False

    def ensure(self, name: str, table: Table) -> Change:
        """As `DmDriver.ensure`."""
        check_name(name)
        check_table(table)
        with device_mapper(f"create /dev/mapper/{name}") as control:
            fact = read_device(control, name)
            if fact is not None:
                check_ours(fact)
            if fact is None or fact.table is None:
                check_devices(name, table)
                check_cow_unshared(control, name, table)
                if fact is None:
                    create(control, name)
                return activate(control, name, table)
            requested = with_kernel_nodes(table)
            if fact.table != requested:
                raise other_table(fact, requested)
            return resume(control, fact)

    def switch(self, name: str, table: Table, expected_live_table: Table) -> Switched:
        """As `DmDriver.switch`."""
        check_table(table)
        check_table(expected_live_table)
        with device_mapper(f"switch /dev/mapper/{name}") as control:
            fact = read_ours(control, name)
            requested = with_kernel_nodes(table)
            if fact.table == requested:
                return Switched(resume(control, fact).changed, 0.0)
            expected = with_kernel_nodes(expected_live_table)
            if fact.table is None or fact.table != expected:
                raise other_table(fact, expected)
            check_switch(name, fact.table, requested, fact.status, base_of_origin(control, fact.table))
            check_devices(name, table)
            return Switched(True, *swap(control, fact, table))

    def ensure_extended(self, name: str) -> Change:
        """As `DmDriver.ensure_extended`."""
        with device_mapper(f"reload the table of /dev/mapper/{name}") as control:
            fact = read_ours(control, name)
            if not isinstance(fact.table, Overlay) or needs_reactivation(fact):
                raise not_extendable(fact)
            swap(control, fact, fact.table)
            return CHANGED

    def ensure_reactivated(self, name: str, table: Table) -> Change:
        """As `DmDriver.ensure_reactivated`."""
        check_table(table)
        with device_mapper(f"re-activate /dev/mapper/{name}") as control:
            fact = read_ours(control, name)
            overlay, error_table = check_reactivation(fact, table), ErrorTable(table.length_sectors)
            requested = with_kernel_nodes(overlay)
            if fact.table == requested and not needs_reactivation(fact):
                return resume(control, fact)
            if fact.table not in (requested, error_table):
                raise other_table(fact, requested)
            if fact.table == requested:
                # a reloaded table inherits the overflow; only after the error target the COW is read again
                swap(control, fact, error_table)
            ensure_valid(overlay.cow)
            swap(control, read_ours(control, name), overlay)
            return CHANGED

    def ensure_resumed(self, name: str) -> Change:
        """As `DmDriver.ensure_resumed`."""
        with device_mapper(f"resume /dev/mapper/{name}") as control:
            fact = read_ours(control, name)
            if fact.table is None:
                raise StateError(f"/dev/mapper/{name} has no table to resume")
            return resume(control, fact)

    def ensure_gone(self, name: str, deadline: Deadline) -> Change:
        """As `DmDriver.ensure_gone`."""
        check_name(name)
        with device_mapper(f"remove /dev/mapper/{name}") as control:
            fact = read_device(control, name)
            if fact is not None:
                check_ours(fact)
            while fact is not None and not remove(control, name):
                if deadline.passed():
                    raise still_open(read_ours(control, name))
                wait_seconds(_POLL_SECONDS)
        nodes.ensure_no_node(name)
        return UNCHANGED if fact is None else CHANGED
