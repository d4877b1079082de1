"""What `DmDevices` needs of a kernel as a Protocol: `dm_devices.py` has that of the host, `fake/` is one in memory."""

from __future__ import annotations

from typing import ContextManager, Optional, Protocol, Sequence, Tuple

from rocks.fleet.host.change import Change
from rocks.storage.device_mapper.ioctl import Reply
from rocks.storage.device_mapper.tables import Target


class Switch(Protocol):
    """A prepared switch of tables."""

    def go(self) -> Optional[float]:
        """As `PreparedSwitch.go`."""


class DmKernel(Protocol):
    """Device-mapper, opened for one operation, and the block devices of a host.

    The numbers of block devices are `major:minor`.
    """

    def call(
        self,
        command: int,
        name: str,
        flags: int = 0,
        uuid: str = "",
        targets: Sequence[Target] = (),
        event: int = 0,
    ) -> Reply:
        """One ioctl. OSError of the kernel."""

    def names(self) -> Sequence[str]:
        """Every device-mapper device."""

    def status(self, name: str) -> Optional[Reply]:
        """A device without its table, or None."""

    def targets(self, name: str, flags: int) -> Tuple[Target, ...]:
        """The targets of the live table (or, by flag, of the inactive one), with parameters or status."""

    def device_number(self, path: str) -> str:
        """The number of a block device; StateError when there is none at that path."""

    def node_of(self, number: str) -> str:
        """The kernel node of a number, such as `/dev/zd16`; the number itself without a device."""

    def length_sectors(self, number: str) -> int:
        """Length of a block device."""

    def ensure_node(self, name: str, number: str) -> None:
        """Have /dev/mapper/<name> lead to the device of this number."""

    def ensure_no_node(self, name: str) -> None:
        """Have no /dev/mapper/<name>."""

    def ensure_valid(self, device: str) -> Change:
        """As `cow.ensure_valid`."""

    def prepare_switch(self, name: str) -> ContextManager[Switch]:
        """A switch of the device to its inactive table."""
