"""`rocks-imgstorage-host`: runs the host daemon until SIGTERM."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import Sequence

from rocks.machine.host.libvirt.domains import Domains
from rocks.storage.daemon import Settings, run_daemon
from rocks.storage.device_mapper.dm_devices import DmDevices
from rocks.storage.host.service import Devices, HostService
from rocks.storage.iscsi.initiator import Sessions
from rocks.storage.zfs.pool import PoolDriver
from rocks.storage.zfs.tool import ZfsCommandLine


def main(arguments: Sequence[str]) -> int:
    """Run until SIGTERM; returns the exit status."""
    return run_daemon("rocks-imgstorage-host", arguments, _make)


def program() -> int:
    """`main` with the arguments of this process: the entry point that pyproject.toml names."""
    return main(sys.argv[1:])


def _make(settings: Settings) -> HostService:
    pools = PoolDriver(ZfsCommandLine())
    devices = Devices(pools, Sessions(), DmDevices(), lambda: closing(Domains()))
    return HostService(settings.configuration, devices, settings.bus, settings.identity)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
