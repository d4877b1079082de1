"""iSCSI targets through LIO: block devices, each exported to one host.

The configuration is not saved: after a boot the daemon creates it again from its records, with the same serials, before
any login. `listing.py` reads it from the kernel, `rules.py` checks it, `lio.py` changes it through rtslib. `fake.py`
implements the same Protocol in memory.
"""

from __future__ import annotations

import socket
import stat
from pathlib import Path
from typing import Optional, Tuple

from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.storage.iscsi_target.chap import ChapSecrets
from rocks.storage.iscsi_target.configuration import backstore_of_lun_0, describe, only_secrets
from rocks.storage.iscsi_target.driver import ExportFact, ExportSpec
from rocks.storage.iscsi_target.lio import complete, lio, remove
from rocks.storage.iscsi_target.listing import read_backstores, read_config, read_configs
from rocks.storage.iscsi_target.rules import (
    address_not_local,
    check_backstore_unshared,
    check_export,
    check_no_conflict,
    check_target,
    device_missing,
    find_backstore,
    missing_parts,
    removal_notes,
    unused_backstores,
)


class Targets:
    """The iSCSI targets of this machine with a name prefix, for example `iqn.2001-04.com.nas-0-0:`."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def ensure_export(self, spec: ExportSpec) -> Change:
        """As `TargetDriver.ensure_export`."""
        check_export(spec, self._prefix)
        with lio(f"export {spec.device_path} as {spec.target}") as library:
            config, backstores = read_config(spec.target), read_backstores()
            check_no_conflict(spec, config, backstores)
            if not missing_parts(spec, config, backstores):
                return UNCHANGED
            _require_device(spec)
            _require_address(spec)
            complete(library, spec, config, find_backstore(spec.target, backstores))
            return Change(True, removal_notes(spec, config))

    def ensure_export_gone(self, target: str) -> Change:
        """As `TargetDriver.ensure_export_gone`."""
        check_target(target, self._prefix)
        with lio(f"remove {target}") as library:
            config = read_config(target)
            backstore = check_backstore_unshared(target, read_backstores())
            if config is None and backstore is None:
                return UNCHANGED
            remove(library, target, config, backstore)
            return CHANGED

    def read_exports(self) -> Tuple[ExportFact, ...]:
        """As `TargetDriver.read_exports`."""
        backstores = read_backstores()
        return tuple(
            describe(config, backstore_of_lun_0(config, backstores)) for config in read_configs(self._prefix)
        )

    def read_secrets(self, target: str) -> Optional[ChapSecrets]:
        """As `TargetDriver.read_secrets`."""
        check_target(target, self._prefix)
        return only_secrets(read_config(target))

    def read_unused_backstores(self) -> Tuple[str, ...]:
        """As `TargetDriver.read_unused_backstores`."""
        return unused_backstores(
            self._prefix, (config.target for config in read_configs(self._prefix)), read_backstores()
        )


def _require_device(spec: ExportSpec) -> None:
    try:
        mode = Path(spec.device_path).stat().st_mode
    except OSError:
        raise device_missing(spec) from None
    if not stat.S_ISBLK(mode):
        raise device_missing(spec)


def _require_address(spec: ExportSpec) -> None:
    """LIO accepts addresses of other machines, so bind a socket to check the address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((spec.portal_address, 0))
        except OSError:
            raise address_not_local(spec) from None
