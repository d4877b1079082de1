"""The kernel of this host, as `DmDevices` needs it."""

from __future__ import annotations

from rocks.storage.device_mapper import cow_header, device_nodes
from rocks.storage.device_mapper.ioctl import Control
from rocks.storage.device_mapper.switch import PreparedSwitch


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
