"""iSCSI sessions through open-iscsi: disks of a NAS on this host.

Targets are named, never discovered. `login.py` logs in and out by iscsiadm, `listing.py` reads sessions from the
kernel, `rules.py` checks them, `node_record.py` writes secrets into the node record. `fake.py` implements the same
Protocol in memory.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import List, Set, Tuple

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import IncoherentError, RocksError, ToolError
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.storage.iscsi_initiator.driver import LOGGED_IN, SessionFact, SessionSpec
from rocks.storage.iscsi_initiator.kernel import (
    detach_disk,
    read_disk_again,
    scan_disk,
    wait_without_limit,
)
from rocks.storage.iscsi_initiator.listing import KernelSession, read_kernel_sessions
from rocks.storage.iscsi_initiator.login import (
    all_sessions,
    ensure_record,
    find_session,
    forget,
    log_in,
    log_out,
)
from rocks.storage.iscsi_initiator.rules import (
    check_disk,
    check_portal_matches,
    check_session,
    in_use,
    no_disk,
    parse_initiator,
)
from rocks.storage.iscsi_initiator.users import find_used, find_users
from rocks.storage.iscsi_target.names import check_iscsi_name

_INITIATOR_FILE = Path("/etc/iscsi/initiatorname.iscsi")
_SHORT_SECONDS = 20.0
_FREE_SECONDS = 3.0
_SETTLE_SECONDS = 2.0
_POLL_SECONDS = 0.05


class Sessions:
    """The iSCSI sessions of this machine. What is not documented here is in `SessionDriver`."""

    def read_initiator(self) -> str:
        try:
            return parse_initiator(_INITIATOR_FILE.read_text("utf-8", "replace"))
        except FileNotFoundError:
            return parse_initiator("")

    def read_sessions(self) -> Tuple[SessionFact, ...]:
        return tuple(session.fact for session in read_kernel_sessions())

    def used_targets(self) -> Set[str]:
        sessions = read_kernel_sessions()
        return find_used(
            {one.fact.target: one.disk_folder for one in sessions if one.disk_folder is not None}
        )

    def ensure_session(self, spec: SessionSpec) -> SessionFact:
        check_session(spec)
        existing = find_session(spec.target)
        if existing is not None:
            check_portal_matches(spec, existing.fact)
        ensure_record(spec)
        if existing is None:
            log_in(spec)
        try:
            return _attach(spec)
        except IncoherentError:
            with contextlib.suppress(RocksError):  # in use: the error of the disk is the one to report
                self.ensure_session_gone(spec.target)
            raise

    def ensure_session_gone(self, target: str) -> Change:
        check_iscsi_name(target)
        sessions = all_sessions(target)
        for session in sessions:
            _require_unused(target, session)
        for session in sessions:
            if session.fact.state == LOGGED_IN:
                detach_disk(session, _SHORT_SECONDS)
            log_out(session)
        had_record = forget(target)
        return CHANGED if sessions or had_record else UNCHANGED


def _attach(spec: SessionSpec) -> SessionFact:
    """Wait for the disk and its by-path link, and check that it matches the spec."""
    session = _wait_for_matching_disk(spec)
    wait_without_limit(session)
    deadline = Deadline(_SHORT_SECONDS)
    while Path(session.fact.device_path).resolve() != Path("/dev") / session.fact.disk:
        if deadline.passed():
            raise ToolError(
                f"udev on this host created no {session.fact.device_path} for /dev/{session.fact.disk}"
            )
        wait_seconds(_POLL_SECONDS)
    return session.fact


def _wait_for_matching_disk(spec: SessionSpec) -> KernelSession:
    """IncoherentError when the disk still differs after a short time, and after it was read again.

    While the kernel probes a new disk, it shows the disk as writable; and it takes the disk of a NAS that was too busy
    to answer this question for writable (Linux, drivers/scsi/sd.c: "assume Write Enabled").
    """
    deadline = Deadline(_SETTLE_SECONDS)
    is_read_again = False
    while True:
        session = _wait_for_disk(spec)
        try:
            check_disk(spec, session.fact)
            return session
        except IncoherentError:
            if deadline.passed():
                if is_read_again:
                    raise
                read_disk_again(session, _SHORT_SECONDS)
                is_read_again = True
                deadline = Deadline(_SETTLE_SECONDS)
        wait_seconds(_POLL_SECONDS)


def _wait_for_disk(spec: SessionSpec) -> KernelSession:
    deadline = Deadline(_SHORT_SECONDS)
    has_scanned = False
    while True:
        session = find_session(spec.target)
        if session is not None and session.disk_folder is not None:
            return session
        if session is not None and session.fact.state == LOGGED_IN and not has_scanned:
            scan_disk(session, _SHORT_SECONDS)
            has_scanned = True
        elif deadline.passed():
            raise no_disk(spec)
        else:
            wait_seconds(_POLL_SECONDS)


def _require_unused(target: str, session: KernelSession) -> None:
    """StateError when the disk is still in use after a short time: udev opens every new disk."""
    if session.disk_folder is None:
        return
    deadline = Deadline(_FREE_SECONDS)
    while True:
        users: List[str] = find_users(session.disk_folder, may_open=session.fact.state == LOGGED_IN)
        if not users:
            return
        if deadline.passed():
            raise in_use(target, users)
        wait_seconds(_POLL_SECONDS)
