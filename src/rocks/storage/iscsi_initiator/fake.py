"""Sessions in memory with a `FakeTargets` as the NAS; the contract tests run on them and on open-iscsi."""

from __future__ import annotations

from typing import Dict, NamedTuple, Optional, Set, Tuple

from rocks.core.errors import IncoherentError
from rocks.fleet.host.change import CHANGED, Change
from rocks.storage.iscsi_initiator.driver import LOGGED_IN, SessionFact, SessionSpec
from rocks.storage.iscsi_initiator.rules import (
    check_disk,
    check_portal_matches,
    check_session,
    device_path_of,
    in_use,
    login_error,
    no_disk,
)
from rocks.storage.iscsi_target.configuration import Portal
from rocks.storage.iscsi_target.fake import Disk, FakeTargets
from rocks.storage.iscsi_target.names import check_iscsi_name

_TIMED_OUT = 8
_REFUSED = 24


class _Session(NamedTuple):
    spec: SessionSpec
    disk: Optional[Disk]
    name: str


class FakeSessions:
    """A host with the iSCSI name `initiator`, and its NAS (`SessionDriver`).

    `users`: device path → its user; `records`: targets with a node record.
    """

    def __init__(self, nas: FakeTargets, initiator: str = "iqn.2024-01.org.rocks.lab:fake") -> None:
        self.users: Dict[str, str] = {}
        self.records: Set[str] = set()
        self._nas = nas
        self._initiator = initiator
        self._sessions: Dict[str, _Session] = {}
        self._count = 0

    def read_initiator(self) -> str:
        return self._initiator

    def read_sessions(self) -> Tuple[SessionFact, ...]:
        return tuple(self._fact(self._sessions[target]) for target in sorted(self._sessions))

    def used_targets(self) -> Set[str]:
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

    def _nas_log_in(self, spec: SessionSpec) -> Optional[Disk]:
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
