"""The node record of a target in open-iscsi: its settings and secrets.

iscsiadm accepts settings as arguments only, which every user can read in /proc. So iscsiadm creates the record, and the
settings are written into its file, which is replaced atomically with mode 0600.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Mapping, Optional

from rocks.core.errors import HostError, ToolError
from rocks.core.files import draft, remove_drafts
from rocks.storage.iscsi_initiator.driver import SessionSpec

# Debian, RHEL
_FOLDERS = (Path("/etc/iscsi/nodes"), Path("/var/lib/iscsi/nodes"))
_END = "# END RECORD"

_ALWAYS: Dict[str, Optional[str]] = {
    "node.startup": "manual",
    "node.leading_login": "No",
    "node.conn[0].startup": "manual",
    "node.session.scan": "manual",
    "node.session.nr_sessions": "1",
    "node.session.reopen_max": "0",
    # with a timeout, a failed read below a snapshot would invalidate it
    "node.session.timeo.replacement_timeout": "-1",
    "node.session.initial_login_retry_max": "2",
    "node.conn[0].timeo.login_timeout": "10",
    "node.conn[0].timeo.logout_timeout": "10",
    "node.conn[0].timeo.noop_out_interval": "5",
    "node.conn[0].timeo.noop_out_timeout": "5",
}


def record_settings(spec: SessionSpec) -> Dict[str, Optional[str]]:
    """Settings of the record; None for settings that must be absent."""
    chap = spec.chap
    return {
        **_ALWAYS,
        "node.session.auth.authmethod": "None" if chap is None else "CHAP",
        "node.session.auth.chap_algs": "SHA3-256,SHA256,SHA1,MD5",
        "node.session.auth.username": None if chap is None else chap.user,
        "node.session.auth.password": None if chap is None else chap.password,
        "node.session.auth.username_in": None if chap is None else chap.mutual_user,
        "node.session.auth.password_in": None if chap is None else chap.mutual_password,
    }


def edit_record(text: str, settings: Mapping[str, Optional[str]]) -> str:
    """The record with these settings replaced or added. ToolError when its end is missing."""
    lines = text.splitlines()
    if _END not in lines:
        raise ToolError("iscsiadm left a node record without its end")
    others = [line for line in lines if line.partition("=")[0].strip() not in settings]
    added = [f"{name} = {value}" for name, value in settings.items() if value is not None]
    end = others.index(_END)
    return "\n".join([*others[:end], *added, *others[end:]]) + "\n"


def find_record(spec: SessionSpec) -> Optional[Path]:
    """The file of the record, or None.

    Before the first login the portal group number is unknown, and the record is a single file.
    """
    name = f"{spec.address},{spec.port}"
    return next(
        (path for folder in _FOLDERS for path in [folder / spec.target / name] if path.is_file()), None
    )


def write_settings(path: Path, settings: Mapping[str, Optional[str]]) -> None:
    """Write the settings atomically; only root can read the file. HostError when it cannot be written."""
    try:
        text = path.read_text("utf-8")
        edited = edit_record(text, settings)
        if edited == text and path.stat().st_mode & 0o077 == 0:
            return
        with draft(path, beside=_beside(path.parents[1], path.parent.name)) as new:
            new.write(edited)
    except OSError as error:
        raise HostError(f"cannot write the node record {path}: {error.strerror}") from None


def remove_temporary_record(target: str) -> None:
    """Remove the draft of a killed process, which may contain secrets."""
    for folder in _FOLDERS:
        remove_drafts(_beside(folder, target))


def _beside(folder: Path, target: str) -> Path:
    """Names the draft: beside the folder of records, since iscsiadm would read a draft inside it as a record."""
    return folder.parent / f"rocks-{target}"
