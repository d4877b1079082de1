"""Operations on device-mapper devices as a Protocol: `dm_devices.py` implements it by the kernel, `fake/` in memory.

Tables name devices by any path. All methods raise UserError for invalid requests, StateError when another operation is
needed first, IncoherentError when the device is of another origin, ToolError for errors of the kernel, HostError
without device-mapper.
"""

from __future__ import annotations

from typing import Optional, Protocol, Tuple

from rocks.core.clock import Deadline
from rocks.fleet.host.change import Change
from rocks.storage.device_mapper.tables import DmDeviceFact, Switched, Table


class DmDriver(Protocol):
    """Device-mapper devices of a host."""

    def read(self, name: str) -> Optional[DmDeviceFact]:
        """The device, of any origin, or None."""

    def list(self) -> Tuple[DmDeviceFact, ...]:
        """All devices of this system by name."""

    def is_live(self, name: str, table: Table) -> bool:
        """Whether this table is live, device by device; False when one of its devices is missing."""

    def ensure(self, name: str, table: Table) -> Change:
        """Create the device with this table, active, with its node in /dev/mapper.

        IncoherentError when it has another table, or another device uses the COW; StateError when a device of the table
        is missing or too short.
        """

    def switch(self, name: str, table: Table, expected_live_table: Table) -> Switched:
        """Replace `expected_live_table` by `table` while the device is in use.

        Allowed: linear → linear (the caller guarantees equal content); snapshot → snapshot-merge of the same devices;
        snapshot-merge, once merged → linear on its target; placeholder → linear or snapshot. IncoherentError for any
        other switch, and when another table is live. BusyError when the device did not suspend within
        `STALL_LIMIT_SECONDS`: the live table stays, and the same call may succeed later.
        """

    def ensure_extended(self, name: str) -> Change:
        """Reload the same table: a grown COW is used completely, a failed merge is retried.

        StateError when the device is not a snapshot, or is in overflow or invalid; BusyError as `switch`.
        """

    def ensure_reactivated(self, name: str, table: Table) -> Change:
        """Reactivate a snapshot in overflow or invalid, with all data of its COW.

        Extend the COW first. For a moment the device has the error target, so its user must be paused or pause at an
        I/O error. UNCHANGED when the snapshot works. May be repeated after a crash.
        """

    def ensure_resumed(self, name: str) -> Change:
        """Resume a suspended device with its live table, and clear an inactive table."""

    def ensure_gone(self, name: str, deadline: Deadline) -> Change:
        """Remove the device. StateError when it is still open at the deadline."""
