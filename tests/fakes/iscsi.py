"""iSCSI in memory: the targets of LIO, and sessions of a host; the contract tests run on them and on the real ones."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from rocks.core.errors import IncoherentError
from rocks.fleet.host.change import CHANGED, Change
from rocks.storage.iscsi.initiator import (
    LOGGED_IN,
    SessionFact,
    SessionSpec,
    check_disk,
    check_portal_matches,
    check_session,
    device_path_of,
    in_use,
    login_error,
    no_disk,
)
from rocks.storage.iscsi.names import ChapSecrets, backstore_name, check_iscsi_name
from rocks.storage.iscsi.target import (
    Backstore,
    ExportSpec,
    Lun,
    Portal,
    TargetConfig,
    Targets,
    attributes_of,
    backstore_of_lun_0,
    expected_acl,
)


class Disk(NamedTuple):
    """An exported disk as an initiator sees it."""

    unit_serial: str
    size_bytes: int
    is_read_only: bool


class FakeTargets(Targets):
    """A NAS. `devices`: path → size in bytes; `addresses`: its own IP addresses."""

    def __init__(self, prefix: str, addresses: tuple[str, ...] = ("127.0.0.1",)) -> None:
        super().__init__(prefix)
        self.devices: dict[str, int] = {}
        self.configs: dict[str, TargetConfig] = {}
        self.backstores: dict[str, Backstore] = {}
        self.addresses = addresses
        self.is_reachable = True

    def log_in(self, target: str, portal: Portal, initiator: str, chap: ChapSecrets | None) -> Disk | None:
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

    def _disk(self, config: TargetConfig, initiator: str) -> Disk | None:
        backstore = backstore_of_lun_0(config, self._read_backstores())
        reach = [mapped for acl in config.acls if acl.initiator == initiator for mapped in acl.mapped]
        if backstore is None or not reach:
            return None
        is_read_only = backstore.read_only or reach[0].write_protect
        return Disk(backstore.unit_serial, self.devices[backstore.device_path], is_read_only)

    def _opened(self, what: str) -> AbstractContextManager[None]:
        return nullcontext()

    def _complete(
        self, library: Any, spec: ExportSpec, config: TargetConfig | None, backstore: Backstore | None
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
        self, library: Any, target: str, config: TargetConfig | None, backstore: Backstore | None
    ) -> None:
        self.configs.pop(target, None)
        self.backstores.pop(backstore_name(target), None)

    def _read_config(self, target: str) -> TargetConfig | None:
        return self.configs.get(target)

    def _read_configs(self) -> tuple[TargetConfig, ...]:
        return tuple(self.configs[name] for name in sorted(self.configs) if name.startswith(self._prefix))

    def _has_device(self, path: str) -> bool:
        return path in self.devices

    def _has_address(self, address: str) -> bool:
        return address in self.addresses

    def _read_backstores(self) -> tuple[Backstore, ...]:
        users: dict[str, tuple[str, ...]] = {}
        for target in sorted(self.configs):
            for lun in self.configs[target].luns:
                if lun.backstore is not None:
                    users[lun.backstore] = (*users.get(lun.backstore, ()), target)
        return tuple(
            self.backstores[name]._replace(targets=users.get(name, ())) for name in sorted(self.backstores)
        )


# --- sessions with a `FakeTargets` as the NAS ------------------------------------------------------------------------


_TIMED_OUT = 8
_REFUSED = 24


class _Session(NamedTuple):
    spec: SessionSpec
    disk: Disk | None
    name: str


class FakeSessions:
    """A host with the iSCSI name `initiator`, and its NAS (`SessionDriver`).

    `users`: device path → its user; `records`: targets with a node record.
    """

    def __init__(self, nas: FakeTargets, initiator: str = "iqn.2024-01.org.rocks.lab:fake") -> None:
        self.users: dict[str, str] = {}
        self.records: set[str] = set()
        self._nas = nas
        self._initiator = initiator
        self._sessions: dict[str, _Session] = {}
        self._count = 0

    def read_initiator(self) -> str:
        return self._initiator

    def read_sessions(self) -> tuple[SessionFact, ...]:
        return tuple(self._fact(self._sessions[target]) for target in sorted(self._sessions))

    def used_targets(self) -> set[str]:
        return {fact.target for fact in self.read_sessions() if fact.device_path in self.users}

    def ensure_session(self, spec: SessionSpec) -> SessionFact:
        check_session(spec)
        existing = self._sessions.get(spec.target)
        self.records.add(spec.target)
        if existing is not None:
            check_portal_matches(spec, self._fact(existing))
        if existing is None or existing.disk is None:
            existing = self._log_in(spec)
        fact = self._fact(existing)
        if not fact.disk:
            raise no_disk(spec)
        try:
            check_disk(spec, fact)
        except IncoherentError:
            if fact.device_path not in self.users:
                self.ensure_session_gone(spec.target)
            raise
        return fact

    def ensure_session_gone(self, target: str) -> Change:
        check_iscsi_name(target)
        session = self._sessions.get(target)
        if session is None:
            had_record = target in self.records
            self.records.discard(target)
            return Change(had_record)
        user = self.users.get(self._fact(session).device_path)
        if user is not None:
            raise in_use(target, [user])
        del self._sessions[target]
        self.records.discard(target)
        self._nas.note_session(target, self._initiator, False)
        return CHANGED

    def detach(self, target: str) -> None:
        """Detach the disk of a session."""
        self._sessions[target] = self._sessions[target]._replace(disk=None)

    def _log_in(self, spec: SessionSpec) -> _Session:
        try:
            disk = self._nas_log_in(spec)
        except TimeoutError:
            self.records.discard(spec.target)
            raise login_error(spec, _TIMED_OUT, "encountered connection failure") from None
        except PermissionError:
            self.records.discard(spec.target)
            raise login_error(spec, _REFUSED, "iSCSI login failed due to authorization failure") from None
        self._count += 1
        session = _Session(spec, disk, f"sd{chr(ord('a') + self._count % 26)}")
        self._sessions[spec.target] = session
        return session

    def _nas_log_in(self, spec: SessionSpec) -> Disk | None:
        portal = Portal(spec.address, spec.port)
        return self._nas.log_in(spec.target, portal, self._initiator, spec.chap)

    def _fact(self, session: _Session) -> SessionFact:
        spec, disk = session.spec, session.disk
        try:
            self._nas_log_in(spec)  # iscsid retries all the time
            state = LOGGED_IN
        except (TimeoutError, PermissionError):
            state = "FAILED"
        return SessionFact(
            target=spec.target,
            address=spec.address,
            port=spec.port,
            state=state,
            device_path=device_path_of(spec.target, spec.address, spec.port) if disk is not None else "",
            disk=session.name if disk is not None else "",
            unit_serial=disk.unit_serial if disk is not None else "",
            size_bytes=disk.size_bytes if disk is not None else 0,
            is_read_only=disk is not None and disk.is_read_only,
        )
