"""Device-mapper devices: created, compared, switched below a running guest, and removed.

`facts.py` reads the kernel's tables, `loading.py` changes them. `fake/` has a kernel in memory.
"""

from __future__ import annotations

from typing import Callable, ContextManager, Optional, Tuple

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import StateError
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.storage.device_mapper import cow_header, device_nodes
from rocks.storage.device_mapper.driver import DmKernel
from rocks.storage.device_mapper.facts import (
    base_of_origin,
    check_cow_unshared,
    check_devices,
    opened,
    read_all_ours,
    read_device,
    read_ours,
    with_kernel_nodes,
)
from rocks.storage.device_mapper.ioctl import Control
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
from rocks.storage.device_mapper.switch import PreparedSwitch
from rocks.storage.device_mapper.tables import DmDeviceFact, ErrorTable, Overlay, Switched, Table

_POLL_SECONDS = 0.02


class HostKernel(Control):
    """Device-mapper's control file, opened, the block devices of sysfs, and the process that switches a table."""

    device_number = staticmethod(device_nodes.device_number)
    node_of = staticmethod(device_nodes.node_of)
    length_sectors = staticmethod(device_nodes.length_sectors)
    ensure_node = staticmethod(device_nodes.ensure_node)
    ensure_no_node = staticmethod(device_nodes.ensure_no_node)
    ensure_valid = staticmethod(cow_header.ensure_valid)
    prepare_switch = staticmethod(PreparedSwitch)

    def __enter__(self) -> HostKernel:
        return self


class DmDevices:
    """The device-mapper devices of a host.

    Tables name devices by any path. All methods raise UserError for invalid requests, StateError when another operation
    is needed first, IncoherentError when the device is of another origin, ToolError for errors of the kernel, HostError
    without device-mapper.
    """

    def __init__(self, open_kernel: Callable[[], ContextManager[DmKernel]] = HostKernel) -> None:
        self._open_kernel = open_kernel

    def read(self, name: str) -> Optional[DmDeviceFact]:
        """The device, of any origin, or None."""
        check_name(name)
        with opened(self._open_kernel, f"report /dev/mapper/{name}") as kernel:
            return read_device(kernel, name)

    def list(self) -> Tuple[DmDeviceFact, ...]:
        """All devices of this system by name."""
        with opened(self._open_kernel, "list its devices") as kernel:
            return read_all_ours(kernel)

    def is_live(self, name: str, table: Table) -> bool:
        """Whether this table is live, device by device; False when one of its devices is missing."""
        check_table(table)
        check_name(name)
        with opened(self._open_kernel, f"report /dev/mapper/{name}") as kernel:
            fact = read_device(kernel, name)
            try:
                return fact is not None and fact.table == with_kernel_nodes(kernel, table)
            except StateError:
                return False

    def ensure(self, name: str, table: Table) -> Change:
        """Create the device with this table, active, with its node in /dev/mapper.

        IncoherentError when it has another table, or another device uses the COW; StateError when a device of the table
        is missing or too short.
        """
        check_name(name)
        check_table(table)
        with opened(self._open_kernel, f"create /dev/mapper/{name}") as kernel:
            fact = read_device(kernel, name)
            if fact is not None:
                check_ours(fact)
            if fact is None or fact.table is None:
                check_devices(kernel, name, table)
                check_cow_unshared(kernel, name, table)
                if fact is None:
                    create(kernel, name)
                return activate(kernel, name, table)
            requested = with_kernel_nodes(kernel, table)
            if fact.table != requested:
                raise other_table(fact, requested)
            return resume(kernel, fact)

    def switch(self, name: str, table: Table, expected_live_table: Table) -> Switched:
        """Replace `expected_live_table` by `table` while the device is in use.

        Allowed: linear → linear (the caller guarantees equal content); snapshot → snapshot-merge of the same devices;
        snapshot-merge, once merged → linear on its target; placeholder → linear or snapshot. IncoherentError for any
        other switch, and when another table is live. BusyError when the device did not suspend within
        `STALL_LIMIT_SECONDS`: the live table stays, and the same call may succeed later.
        """
        check_table(table)
        check_table(expected_live_table)
        with opened(self._open_kernel, f"switch /dev/mapper/{name}") as kernel:
            fact = read_ours(kernel, name)
            requested = with_kernel_nodes(kernel, table)
            if fact.table == requested:
                return Switched(resume(kernel, fact).changed, 0.0)
            expected = with_kernel_nodes(kernel, expected_live_table)
            if fact.table is None or fact.table != expected:
                raise other_table(fact, expected)
            check_switch(name, fact.table, requested, fact.status, base_of_origin(kernel, fact.table))
            check_devices(kernel, name, table)
            return Switched(True, *swap(kernel, fact, table))

    def ensure_extended(self, name: str) -> Change:
        """Reload the same table: a grown COW is used completely, a failed merge is retried.

        StateError when the device is not a snapshot, or is in overflow or invalid; BusyError as `switch`.
        """
        with opened(self._open_kernel, f"reload the table of /dev/mapper/{name}") as kernel:
            fact = read_ours(kernel, name)
            if not isinstance(fact.table, Overlay) or needs_reactivation(fact):
                raise not_extendable(fact)
            swap(kernel, fact, fact.table)
            return CHANGED

    def ensure_reactivated(self, name: str, table: Table) -> Change:
        """Reactivate a snapshot in overflow or invalid, with all data of its COW.

        Extend the COW first. For a moment the device has the error target, so its user must be paused or pause at an
        I/O error. UNCHANGED when the snapshot works. May be repeated after a crash.
        """
        check_table(table)
        with opened(self._open_kernel, f"re-activate /dev/mapper/{name}") as kernel:
            fact = read_ours(kernel, name)
            overlay, error_table = check_reactivation(fact, table), ErrorTable(table.length_sectors)
            requested = with_kernel_nodes(kernel, overlay)
            if fact.table == requested and not needs_reactivation(fact):
                return resume(kernel, fact)
            if fact.table not in (requested, error_table):
                raise other_table(fact, requested)
            if fact.table == requested:
                # a reloaded table inherits the overflow; only after the error target the COW is read again
                swap(kernel, fact, error_table)
            kernel.ensure_valid(overlay.cow)
            swap(kernel, read_ours(kernel, name), overlay)
            return CHANGED

    def ensure_resumed(self, name: str) -> Change:
        """Resume a suspended device with its live table, and clear an inactive table."""
        with opened(self._open_kernel, f"resume /dev/mapper/{name}") as kernel:
            fact = read_ours(kernel, name)
            if fact.table is None:
                raise StateError(f"/dev/mapper/{name} has no table to resume")
            return resume(kernel, fact)

    def ensure_gone(self, name: str, deadline: Deadline) -> Change:
        """Remove the device. StateError when it is still open at the deadline."""
        check_name(name)
        with opened(self._open_kernel, f"remove /dev/mapper/{name}") as kernel:
            fact = read_device(kernel, name)
            if fact is not None:
                check_ours(fact)
            while fact is not None and not remove(kernel, name):
                if deadline.passed():
                    raise still_open(read_ours(kernel, name))
                wait_seconds(_POLL_SECONDS)
            kernel.ensure_no_node(name)
        return UNCHANGED if fact is None else CHANGED
