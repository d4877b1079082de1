"""What can be done with mappings, as a shape: device-mapper behind `devices.py`, memory behind `fake/mappings.py`.

Tables name devices by any path; a path under /dev/mapper is a mapping. Errors of all: UserError for what cannot be,
StateError when something must be done first, IncoherentError when a name belongs to something else, ToolError when the
kernel refuses, HostError without device-mapper.
"""

from __future__ import annotations

from typing import Optional, Protocol, Tuple

from rocks.clock import Deadline
from rocks.devices.change import Change
from rocks.devices.device_mapper.tables import DmDeviceFact, Switched, Table


class DmDriver(Protocol):
    """What both can do."""

    def read(self, name: str) -> Optional[DmDeviceFact]:
        """The mapping as it is, ours or not; None when there is none."""

    def list(self) -> Tuple[DmDeviceFact, ...]:
        """All mappings that were made here, by name."""

    def is_live(self, name: str, table: Table) -> bool:
        """Whether the mapping runs on this table, device for device; False when a device of it is missing."""

    def ensure(self, name: str, table: Table) -> Change:
        """Have the mapping, running on this table, with its node in /dev/mapper.

        IncoherentError when it has another table, or when another mapping uses the COW; StateError when a device is
        missing or too short.
        """

    def switch(self, name: str, table: Table, expected_live_table: Table) -> Switched:
        """Put `table` in the place of `expected_live_table` below whatever uses the mapping.

        What may follow what: linear → linear (the caller vouches for equal content); snapshot → snapshot-merge of the
        same devices; snapshot-merge, once merged → linear on what it was merged into. IncoherentError for anything
        else, and when another table is live. BusyError when the device did not come to rest within
        `STALL_LIMIT_SECONDS`: the live table then goes on, and the same call may succeed later.
        """

    def ensure_extended(self, name: str) -> Change:
        """Load the same table again: a COW that has grown is used whole, a merge that has failed is tried again.

        StateError when the mapping is no snapshot, or has overflowed or become invalid; BusyError as `switch`.
        """

    def ensure_reactivated(self, name: str, table: Table) -> Change:
        """Bring a snapshot that has overflowed or become invalid back, with all that was written into its COW.

        Extend the COW before. For a moment the mapping has a table without devices, so whatever uses it must be
        paused, or be one that pauses at an error; UNCHANGED when it works as it is. Repeatable after a crash.
        """

    def ensure_resumed(self, name: str) -> Change:
        """Let a mapping that somebody left suspended go on with its live table, and forget a loaded one."""

    def ensure_gone(self, name: str, deadline: Deadline) -> Change:
        """Have no such mapping. StateError when it is still open at the deadline."""
