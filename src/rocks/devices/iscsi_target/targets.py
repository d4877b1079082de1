"""The one door to LIO: block devices given to one host each, over iSCSI.

Nothing is saved: the kernel's configuration is lost with its power, and the daemon makes it again from its records
before anything can log in, with the same serials. What is there is read from the kernel (`target_listing.py`) and
judged by pure rules (`target_rules.py`); rtslib makes and removes (`target_lio.py`). `fake/targets.py` is the twin.
"""

from __future__ import annotations

import socket
import stat
from pathlib import Path
from typing import Tuple

from rocks.devices.change import CHANGED, UNCHANGED, Change
from rocks.devices.iscsi_target.driver import ExportFact, ExportSpec
from rocks.devices.iscsi_target.lio import complete, lio, remove
from rocks.devices.iscsi_target.listing import read_stores, read_tree, read_trees
from rocks.devices.iscsi_target.names import backstore_of, is_own_backstore
from rocks.devices.iscsi_target.rules import (
    check_export,
    check_target,
    foreign_address,
    missing_device,
    missing_parts,
    refuse_other,
    refuse_shared_store,
    strangers,
)
from rocks.devices.iscsi_target.tree import describe, store_of_unit_0


class Targets:
    """The iSCSI targets of this machine whose names begin with `prefix`, for example `iqn.2001-04.com.nas-0-0:`."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def ensure_export(self, wanted: ExportSpec) -> Change:
        """As `TargetDriver.ensure_export`."""
        check_export(wanted, self._prefix)
        with lio(f"export {wanted.device_path} as {wanted.target}") as library:
            tree, stores = read_tree(wanted.target), read_stores()
            refuse_other(wanted, tree, stores)
            if not missing_parts(wanted, tree, stores):
                return UNCHANGED
            _require_device(wanted)
            _require_address(wanted)
            store = next((store for store in stores if store.name == backstore_of(wanted.target)), None)
            complete(library, wanted, tree, store)
            return Change(True, strangers(wanted, tree))

    def ensure_export_gone(self, target: str) -> Change:
        """As `TargetDriver.ensure_export_gone`."""
        check_target(target, self._prefix)
        with lio(f"remove {target}") as library:
            tree = read_tree(target)
            store = refuse_shared_store(target, read_stores())
            if tree is None and store is None:
                return UNCHANGED
            remove(library, target, tree, store)
            return CHANGED

    def read_exports(self) -> Tuple[ExportFact, ...]:
        """As `TargetDriver.read_exports`."""
        stores = read_stores()
        return tuple(describe(tree, store_of_unit_0(tree, stores)) for tree in read_trees(self._prefix))

    def read_unused_backstores(self) -> Tuple[str, ...]:
        """As `TargetDriver.read_unused_backstores`."""
        trees = {backstore_of(tree.target) for tree in read_trees(self._prefix)}
        return tuple(
            self._prefix + store.name[len(backstore_of("")) :]
            for store in read_stores()
            if is_own_backstore(store.name) and store.name not in trees and not store.targets
        )


def _require_device(wanted: ExportSpec) -> None:
    try:
        mode = Path(wanted.device_path).stat().st_mode
    except OSError:
        raise missing_device(wanted) from None
    if not stat.S_ISBLK(mode):
        raise missing_device(wanted)


def _require_address(wanted: ExportSpec) -> None:
    """LIO itself would listen on an address that this machine does not have, and nobody would come."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.bind((wanted.portal_address, 0))
        except OSError:
            raise foreign_address(wanted) from None
