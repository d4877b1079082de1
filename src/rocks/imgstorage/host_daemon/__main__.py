"""`rocks-imgstorage-host`: runs the host daemon until it is told to end."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import Sequence

from rocks.devices.domains import Domains
from rocks.devices.mappings import Mappings
from rocks.devices.pools import Pools
from rocks.devices.sessions import Sessions
from rocks.imgstorage.daemon import Settings, run_daemon
from rocks.imgstorage.host_daemon.service import Devices, HostService


def main(arguments: Sequence[str]) -> int:
    """Run until SIGTERM; returns the exit status."""
    if arguments:
        print("usage: rocks-imgstorage-host, without arguments", file=sys.stderr)
        return 1
    return run_daemon(_make)


def _make(settings: Settings) -> HostService:
    devices = Devices(Pools(), Sessions(), Mappings(), lambda: closing(Domains()))
    return HostService(settings.configuration, devices, settings.bus, settings.identity)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
