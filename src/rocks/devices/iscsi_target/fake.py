"""LIO in memory, under the rules of `target_rules`; held to the kernel by the cases in `tests/contract/devices`."""

from __future__ import annotations

from typing import Dict, NamedTuple, Optional, Tuple

from rocks.devices.change import CHANGED, UNCHANGED, Change
from rocks.devices.iscsi_target.chap import ChapSecrets
from rocks.devices.iscsi_target.driver import ExportFact, ExportSpec
from rocks.devices.iscsi_target.names import backstore_of, is_own_backstore
from rocks.devices.iscsi_target.rules import (
    attributes_of,
    check_export,
    check_target,
    foreign_address,
    missing_device,
    missing_parts,
    refuse_other,
    refuse_shared_store,
    strangers,
    wanted_acl,
)
from rocks.devices.iscsi_target.tree import Portal, Store, Tree, Unit, describe, store_of_unit_0


class Disk(NamedTuple):
    """What an initiator sees of an export."""

    unit_serial: str
    size_bytes: int
    is_read_only: bool


class FakeTargets:
    """A NAS. `devices` are its block devices with their sizes, `addresses` its own."""

    def __init__(self, prefix: str, addresses: Tuple[str, ...] = ("127.0.0.1",)) -> None:
        self.devices: Dict[str, int] = {}
        self.trees: Dict[str, Tree] = {}
        self.stores: Dict[str, Store] = {}
        self.addresses = addresses
        self.is_reachable = True
        self._prefix = prefix

    def ensure_export(self, wanted: ExportSpec) -> Change:
        """As `TargetDriver.ensure_export`."""
        check_export(wanted, self._prefix)
        tree, stores = self.trees.get(wanted.target), self._read_stores()
        refuse_other(wanted, tree, stores)
        if not missing_parts(wanted, tree, stores):
            return UNCHANGED
        if wanted.device_path not in self.devices:
            raise missing_device(wanted)
        if wanted.portal_address not in self.addresses:
            raise foreign_address(wanted)
        name = backstore_of(wanted.target)
        self.stores[name] = Store(name, wanted.device_path, wanted.read_only, wanted.unit_serial, True, ())
        self.trees[wanted.target] = Tree(
            target=wanted.target,
            groups=(1,),
            is_enabled=True,
            attributes=tuple(attributes_of(wanted).items()),
            units=(Unit(0, name),),
            acls=(wanted_acl(wanted),),
            portals=(Portal(wanted.portal_address, wanted.portal_port),),
        )
        return Change(True, strangers(wanted, tree))

    def ensure_export_gone(self, target: str) -> Change:
        """As `TargetDriver.ensure_export_gone`."""
        check_target(target, self._prefix)
        store = refuse_shared_store(target, self._read_stores())
        if target not in self.trees and store is None:
            return UNCHANGED
        self.trees.pop(target, None)
        self.stores.pop(backstore_of(target), None)
        return CHANGED

    def read_exports(self) -> Tuple[ExportFact, ...]:
        """As `TargetDriver.read_exports`."""
        stores = self._read_stores()
        ours = [self.trees[name] for name in sorted(self.trees) if name.startswith(self._prefix)]
        return tuple(describe(tree, store_of_unit_0(tree, stores)) for tree in ours)

    def read_unused_backstores(self) -> Tuple[str, ...]:
        """As `TargetDriver.read_unused_backstores`."""
        trees = {backstore_of(target) for target in self.trees}
        return tuple(
            self._prefix + store.name[len(backstore_of("")) :]
            for store in self._read_stores()
            if is_own_backstore(store.name) and store.name not in trees and not store.targets
        )

    def log_in(
        self, target: str, portal: Portal, initiator: str, chap: Optional[ChapSecrets]
    ) -> Optional[Disk]:
        """The disk that this initiator gets there, if any. PermissionError when the NAS does not let it in.

        TimeoutError when the NAS is away, or has no such target: an initiator goes on asking for it.
        """
        if not self.is_reachable or portal.address not in self.addresses:
            raise TimeoutError
        tree = self.trees.get(target)
        if tree is None or not tree.is_enabled or portal not in tree.portals:
            raise TimeoutError
        if not any((acl.initiator, acl.chap) == (initiator, chap) for acl in tree.acls):
            raise PermissionError
        self.note_session(target, initiator, True)
        return self._disk(tree, initiator)

    def note_session(self, target: str, initiator: str, has_session: bool) -> None:
        """An initiator is there, or has gone."""
        tree = self.trees.get(target)
        if tree is not None:
            acls = tuple(
                acl._replace(has_session=has_session) if acl.initiator == initiator else acl
                for acl in tree.acls
            )
            self.trees[target] = tree._replace(acls=acls)

    def _disk(self, tree: Tree, initiator: str) -> Optional[Disk]:
        store = store_of_unit_0(tree, self._read_stores())
        reach = [mapped for acl in tree.acls if acl.initiator == initiator for mapped in acl.mapped]
        if store is None or not reach:
            return None
        is_read_only = store.read_only or reach[0].write_protect
        return Disk(store.unit_serial, self.devices[store.device_path], is_read_only)

    def _read_stores(self) -> Tuple[Store, ...]:
        users: Dict[str, Tuple[str, ...]] = {}
        for target in sorted(self.trees):
            for unit in self.trees[target].units:
                if unit.store is not None:
                    users[unit.store] = (*users.get(unit.store, ()), target)
        return tuple(self.stores[name]._replace(targets=users.get(name, ())) for name in sorted(self.stores))
