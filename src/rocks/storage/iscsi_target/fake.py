"""LIO in memory; the contract tests run on it and on the kernel."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, ContextManager, Dict, NamedTuple, Optional, Tuple

from rocks.storage.iscsi_target.chap import ChapSecrets
from rocks.storage.iscsi_target.configuration import (
    Backstore,
    Lun,
    Portal,
    TargetConfig,
    backstore_of_lun_0,
)
from rocks.storage.iscsi_target.exports import ExportSpec
from rocks.storage.iscsi_target.names import backstore_name
from rocks.storage.iscsi_target.rules import attributes_of, expected_acl
from rocks.storage.iscsi_target.targets import Targets


class Disk(NamedTuple):
    """An exported disk as an initiator sees it."""

    unit_serial: str
    size_bytes: int
    is_read_only: bool


class FakeTargets(Targets):
    """A NAS. `devices`: path → size in bytes; `addresses`: its own IP addresses."""

    def __init__(self, prefix: str, addresses: Tuple[str, ...] = ("127.0.0.1",)) -> None:
        super().__init__(prefix)
        self.devices: Dict[str, int] = {}
        self.configs: Dict[str, TargetConfig] = {}
        self.backstores: Dict[str, Backstore] = {}
        self.addresses = addresses
        self.is_reachable = True

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

    def _opened(self, what: str) -> ContextManager[None]:
        return nullcontext()

    def _complete(
        self, library: Any, spec: ExportSpec, config: Optional[TargetConfig], backstore: Optional[Backstore]
    ) -> None:
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

    def _remove(
        self, library: Any, target: str, config: Optional[TargetConfig], backstore: Optional[Backstore]
    ) -> None:
        self.configs.pop(target, None)
        self.backstores.pop(backstore_name(target), None)

    def _read_config(self, target: str) -> Optional[TargetConfig]:
        return self.configs.get(target)

    def _read_configs(self) -> Tuple[TargetConfig, ...]:
        return tuple(self.configs[name] for name in sorted(self.configs) if name.startswith(self._prefix))

    def _has_device(self, path: str) -> bool:
        return path in self.devices

    def _has_address(self, address: str) -> bool:
        return address in self.addresses

    def _read_backstores(self) -> Tuple[Backstore, ...]:
        users: Dict[str, Tuple[str, ...]] = {}
        for target in sorted(self.configs):
            for lun in self.configs[target].luns:
                if lun.backstore is not None:
                    users[lun.backstore] = (*users.get(lun.backstore, ()), target)
        return tuple(
            self.backstores[name]._replace(targets=users.get(name, ())) for name in sorted(self.backstores)
        )
