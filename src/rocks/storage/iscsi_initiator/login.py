"""Login and logout by iscsiadm."""

from __future__ import annotations

from typing import List, Optional

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import HostError, StateError, ToolError
from rocks.core.process import Finished, run
from rocks.storage.iscsi_initiator.driver import SessionSpec
from rocks.storage.iscsi_initiator.listing import KernelSession, read_kernel_sessions
from rocks.storage.iscsi_initiator.node_record import (
    find_record,
    record_settings,
    remove_temporary_record,
    write_settings,
)
from rocks.storage.iscsi_initiator.rules import check_one_session, login_error

_LOGIN_SECONDS = 90.0
_LOGOUT_SECONDS = 60.0
_SHORT_SECONDS = 20.0
_POLL_SECONDS = 0.05
_SESSION_EXISTS = 15
_NOTHING_FOUND = 21


def find_session(target: str) -> Optional[KernelSession]:
    """The session of a target, or None. IncoherentError when there are several."""
    sessions = all_sessions(target)
    check_one_session(target, len(sessions))
    return sessions[0] if sessions else None


def all_sessions(target: str) -> List[KernelSession]:
    """All sessions of a target."""
    return [session for session in read_kernel_sessions() if session.fact.target == target]


def ensure_record(spec: SessionSpec) -> None:
    """Create the node record if it is missing, and write the settings of the spec."""
    path = find_record(spec)
    if path is None:
        _iscsiadm(spec.target, "--portal", _portal(spec), "--op", "new")
        path = find_record(spec)
    if path is None:
        raise ToolError(f"iscsiadm created no node record for {spec.target} at {_portal(spec)}")
    write_settings(path, record_settings(spec))


def log_in(spec: SessionSpec) -> None:
    """Log in. HostError, StateError or ToolError on failure, after session and record were removed."""
    try:
        arguments = ("--portal", _portal(spec), "--login")
        finished = _run(spec.target, *arguments, deadline_seconds=_LOGIN_SECONDS)
        if finished.exit_status not in (0, _SESSION_EXISTS):
            raise login_error(spec, finished.exit_status, _reason(finished))
    except (HostError, StateError, ToolError):
        for session in all_sessions(spec.target):
            log_out(session)
        forget(spec.target)
        raise


def log_out(session: KernelSession) -> None:
    """Log out by session number, which needs no node record."""
    number = session.folder.name[len("session") :]
    arguments = ["iscsiadm", "--mode", "session", "--sid", number, "--logout"]
    finished = run(arguments, deadline_seconds=_LOGOUT_SECONDS)
    deadline = Deadline(_SHORT_SECONDS)
    while any(each.folder == session.folder for each in all_sessions(session.fact.target)):
        if deadline.passed():
            raise ToolError(
                f"this host did not log out of {session.fact.target}, "
                f"exit status {finished.exit_status}: {_reason(finished)}"
            )
        wait_seconds(_POLL_SECONDS)


def forget(target: str) -> bool:
    """Delete the node record with its secrets; whether it existed."""
    remove_temporary_record(target)
    finished = _run(target, "--op", "delete", deadline_seconds=_SHORT_SECONDS)
    if finished.exit_status not in (0, _NOTHING_FOUND):
        raise ToolError(f"iscsiadm did not delete the node record of {target}: {_reason(finished)}")
    return finished.exit_status == 0


def _iscsiadm(target: str, *operation: str) -> None:
    finished = _run(target, *operation, deadline_seconds=_SHORT_SECONDS)
    if finished.exit_status != 0:
        raise ToolError(
            f"Error executing iscsiadm: {' '.join(operation)} for {target} failed: {_reason(finished)}"
        )


def _run(target: str, *operation: str, deadline_seconds: float) -> Finished:
    arguments = ["iscsiadm", "--mode", "node", "--targetname", target, *operation]
    return run(arguments, deadline_seconds=deadline_seconds)


def _portal(spec: SessionSpec) -> str:
    return f"{spec.address}:{spec.port}"


def _reason(finished: Finished) -> str:
    """The line with the reported error, else the last line."""
    lines = (finished.error_text or finished.text.strip()).splitlines() or ["it printed nothing"]
    return next((line for line in lines if "reported error" in line), lines[-1])
