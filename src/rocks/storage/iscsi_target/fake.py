"""LIO in memory, with the rules of `rules.py`; the contract tests run on it and on the kernel."""

from __future__ import annotations

from typing import Dict, NamedTuple, Optional, Tuple

from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.storage.iscsi_target.chap import ChapSecrets
from rocks.storage.iscsi_target.configuration import (
    Backstore,
    Lun,
    Portal,
    TargetConfig,
    backstore_of_lun_0,
    describe,
    only_secrets,
)
from rocks.storage.iscsi_target.driver import ExportFact, ExportSpec
from rocks.storage.iscsi_target.names import backstore_name
from rocks.storage.iscsi_target.rules import (
    address_not_local,
    attributes_of,
    check_backstore_unshared,
    check_export,
    check_no_conflict,
    check_target,
    device_missing,
    expected_acl,
    missing_parts,
    removal_notes,
    unused_backstores,
)


class Disk(NamedTuple):
    """An exported disk as an initiator sees it."""

    unit_serial: str
    size_bytes: int
    is_read_only: bool


class FakeTargets:
    """A NAS. `devices`: path → size in bytes; `addresses`: its own IP addresses."""

    def __init__(self, prefix: str, addresses: Tuple[str, ...] = ("127.0.0.1",)) -> None:
        self.devices: Dict[str, int] = {}
        self.configs: Dict[str, TargetConfig] = {}
        self.backstores: Dict[str, Backstore] = {}
        self.addresses = addresses
        self.is_reachable = True
        self._prefix = prefix

    def ensure_export(self, spec: ExportSpec) -> Change:
        """As `TargetDriver.ensure_export`."""
        check_export(spec, self._prefix)
        config, backstores = self.configs.get(spec.target), self._read_backstores()
        check_no_conflict(spec, config, backstores)
        if not missing_parts(spec, config, backstores):
            return UNCHANGED
        if spec.device_path not in self.devices:
            raise device_missing(spec)
        if spec.portal_address not in self.addresses:
            raise address_not_local(spec)
        name = backstore_name(spec.target)
        self.backstores[name] = Backstore(name, spec.device_path, spec.read_only, spec.unit_serial, True, ())
        self.configs[spec.target] = TargetConfig(
            target=spec.target,
            groups=(1,),
            is_enabled=True,
            attributes=tuple(attributes_of(spec).items()),
            luns=(Lun(0, name),),
            acls=(expected_acl(spec),),
            portals=(Portal(spec.portal_address, spec.portal_port),),
        )
        return Change(True, removal_notes(spec, config))

    def ensure_export_gone(self, target: str) -> Change:
        """As `TargetDriver.ensure_export_gone`."""
        check_target(target, self._prefix)
        backstore = check_backstore_unshared(target, self._read_backstores())
        if target not in self.configs and backstore is None:
            return UNCHANGED
        self.configs.pop(target, None)
        self.backstores.pop(backstore_name(target), None)
        return CHANGED

    def read_exports(self) -> Tuple[ExportFact, ...]:
        """As `TargetDriver.read_exports`."""
        backstores = self._read_backstores()
        ours = [self.configs[name] for name in sorted(self.configs) if name.startswith(self._prefix)]
        return tuple(describe(config, backstore_of_lun_0(config, backstores)) for config in ours)

    def read_secrets(self, target: str) -> Optional[ChapSecrets]:
        """As `TargetDriver.read_secrets`."""
        check_target(target, self._prefix)
        return only_secrets(self.configs.get(target))

    def read_unused_backstores(self) -> Tuple[str, ...]:
        """As `TargetDriver.read_unused_backstores`."""
        return unused_backstores(self._prefix, self.configs, self._read_backstores())

    def log_in(
        self, target: str, portal: Portal, initiator: str, chap: Optional[ChapSecrets]
    ) -> Optional[Disk]:
        """Log an initiator in; returns its disk, or None. PermissionError when the NAS rejects it.

        TimeoutError when the NAS is unreachable or has no such target, where an initiator retries.
        """
        if not self.is_reachable or portal.address not in self.addresses:
            raise TimeoutError
        config = self.configs.get(target)
        if config is None or not config.is_enabled or portal not in config.portals:
            raise TimeoutError
        if not any((acl.initiator, acl.chap) == (initiator, chap) for acl in config.acls):
            raise PermissionError
        self.note_session(target, initiator, True)
        return self._disk(config, initiator)

    def note_session(self, target: str, initiator: str, has_session: bool) -> None:
        """Record the start or the end of a session."""
        config = self.configs.get(target)
        if config is not None:
            acls = tuple(
                acl._replace(has_session=has_session) if acl.initiator == initiator else acl
                for acl in config.acls
            )
            self.configs[target] = config._replace(acls=acls)

    def _disk(self, config: TargetConfig, initiator: str) -> Optional[Disk]:
        backstore = backstore_of_lun_0(config, self._read_backstores())
        reach = [mapped for acl in config.acls if acl.initiator == initiator for mapped in acl.mapped]
        if backstore is None or not reach:
            return None
        is_read_only = backstore.read_only or reach[0].write_protect
        return Disk(backstore.unit_serial, self.devices[backstore.device_path], is_read_only)

    def _read_backstores(self) -> Tuple[Backstore, ...]:
        users: Dict[str, Tuple[str, ...]] = {}
        for target in sorted(self.configs):
            for lun in self.configs[target].luns:
                if lun.backstore is not None:
                    users[lun.backstore] = (*users.get(lun.backstore, ()), target)
        return tuple(
            self.backstores[name]._replace(targets=users.get(name, ())) for name in sorted(self.backstores)
        )
