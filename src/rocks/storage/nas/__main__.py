"""`rocks-imgstorage-nas`: runs the NAS daemon until SIGTERM."""

from __future__ import annotations

import sys
from typing import Sequence

from rocks.storage.daemon import Settings, run_daemon
from rocks.storage.image.names import target_prefix
from rocks.storage.iscsi.target import Targets
from rocks.storage.nas.service import Devices, NasService
from rocks.storage.zfs.pool import PoolDriver
from rocks.storage.zfs.tool import ZfsCommandLine


def main(arguments: Sequence[str]) -> int:
    """Run until SIGTERM; returns the exit status."""
    return run_daemon("rocks-imgstorage-nas", arguments, _make)


def program() -> int:
    """`main` with the arguments of this process: the entry point that pyproject.toml names."""
    return main(sys.argv[1:])


def _make(settings: Settings) -> NasService:
    pools = PoolDriver(ZfsCommandLine())
    devices = Devices(pools, Targets(target_prefix(settings.configuration.name)))
    return NasService(settings.configuration, devices, settings.bus, settings.identity)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
