"""iSCSI targets through LIO: block devices, each exported to one host.

The configuration is not saved: after a boot the daemon creates it again from its records, with the same serials, before
any login. `listing.py` reads it from the kernel, `rules.py` checks it, `lio.py` changes it through rtslib. `fake.py`
has LIO in memory.
"""

from __future__ import annotations

import socket
import stat
from pathlib import Path
from typing import Any, ContextManager, Optional, Tuple

from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.storage.iscsi_target.chap import ChapSecrets
from rocks.storage.iscsi_target.configuration import (
    Backstore,
    TargetConfig,
    backstore_of_lun_0,
    describe,
    only_secrets,
)
from rocks.storage.iscsi_target.exports import ExportFact, ExportSpec
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
    unused_backstores,
)


class Targets:
    """The iSCSI targets of a NAS with a name prefix, for example `iqn.2001-04.com.nas-0-0:`; others are not changed."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def ensure_export(self, spec: ExportSpec) -> Change:
        """Create or complete this export; the target is enabled last.

        Surplus access list entries, portals and LUNs that are not in use are removed. IncoherentError when the target
        has another device, serial or user; StateError when the device is missing or already exported; UserError for
        invalid names, addresses or secrets.
        """
        check_export(spec, self._prefix)
        with self._opened(f"export {spec.device_path} as {spec.target}") as library:
            config, backstores = self._read_config(spec.target), self._read_backstores()
            check_no_conflict(spec, config, backstores)
            if not missing_parts(spec, config, backstores):
                return UNCHANGED
            if not self._has_device(spec.device_path):
                raise device_missing(spec)
            if not self._has_address(spec.portal_address):
                raise address_not_local(spec)
            self._complete(library, spec, config, find_backstore(spec.target, backstores))
            return CHANGED

    def ensure_export_gone(self, target: str) -> Change:
        """Remove the target and its backstore; sessions are closed first.

        IncoherentError when the backstore serves another target.
        """
        check_target(target, self._prefix)
        with self._opened(f"remove {target}") as library:
            config = self._read_config(target)
            backstore = check_backstore_unshared(target, self._read_backstores())
            if config is None and backstore is None:
                return UNCHANGED
            self._remove(library, target, config, backstore)
            return CHANGED

    def read_exports(self) -> Tuple[ExportFact, ...]:
        """All targets of this system by name."""
        backstores = self._read_backstores()
        return tuple(
            describe(config, backstore_of_lun_0(config, backstores)) for config in self._read_configs()
        )

    def read_secrets(self, target: str) -> Optional[ChapSecrets]:
        """The secrets of a target's only access list entry; None without the target, an entry or secrets."""
        check_target(target, self._prefix)
        return only_secrets(self._read_config(target))

    def read_unused_backstores(self) -> Tuple[str, ...]:
        """Names of removed targets whose backstore still exists and keeps its volume busy."""
        return unused_backstores(
            self._prefix, (config.target for config in self._read_configs()), self._read_backstores()
        )

    # --- LIO; a fake has its own

    def _opened(self, what: str) -> ContextManager[Any]:
        return lio(what)

    _complete = staticmethod(complete)
    _remove = staticmethod(remove)

    def _read_config(self, target: str) -> Optional[TargetConfig]:
        return read_config(target)

    def _read_configs(self) -> Tuple[TargetConfig, ...]:
        return read_configs(self._prefix)

    def _read_backstores(self) -> Tuple[Backstore, ...]:
        return read_backstores()

    def _has_device(self, path: str) -> bool:
        try:
            return stat.S_ISBLK(Path(path).stat().st_mode)
        except OSError:
            return False

    def _has_address(self, address: str) -> bool:
        """LIO accepts addresses of other machines, so bind a socket to check the address."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((address, 0))
            except OSError:
                return False
        return True
