"""`rocks-imgstorage-host`: runs the host daemon until SIGTERM."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import Sequence

from rocks.devices.device_mapper.dm_devices import DmDevices
from rocks.devices.iscsi_initiator.sessions import Sessions
from rocks.devices.libvirt.domains import Domains
from rocks.devices.zfs.pools import Pools
from rocks.imgstorage.daemon import Settings, run_daemon
from rocks.imgstorage.host.service import Devices, HostService


def main(arguments: Sequence[str]) -> int:
    """Run until SIGTERM; returns the exit status."""
    if arguments:
        print("usage: rocks-imgstorage-host, without arguments", file=sys.stderr)
        return 1
    return run_daemon(_make)


def program() -> int:
    """`main` with the arguments of this process: the entry point that pyproject.toml names."""
    return main(sys.argv[1:])


def _make(settings: Settings) -> HostService:
    devices = Devices(Pools(), Sessions(), DmDevices(), lambda: closing(Domains()))
    return HostService(settings.configuration, devices, settings.bus, settings.identity)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
