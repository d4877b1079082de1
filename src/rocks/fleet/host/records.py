"""The one reader of records on a host: files of this system that outlive a request.

A record may be damaged by a full disk, an editor or a restored backup. It is then an error that names the file and the
remedy, and never "no record": what it records, a key on a VF for example, would be forgotten.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

from rocks.core.errors import HostError, IncoherentError, RocksError
from rocks.core.files import explain, open_plain
from rocks.fleet.wire.received import parse_json

LONGEST_BYTES = 1024 * 1024


class RecordKind(NamedTuple):
    """For messages: what the record is, and what to do about a damaged one."""

    title: str
    remedy: str


def read_text_record(path: Path, kind: RecordKind) -> Optional[str]:
    """The text of a record, None when there is no file. IncoherentError for a damaged record; never waits."""
    try:
        data = read_start(path, LONGEST_BYTES + 1)
        if len(data) > LONGEST_BYTES:
            raise ValueError(f"longer than {LONGEST_BYTES} bytes")
        return data.decode("utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise damaged(path, kind, explain(error, path)) from None
    except ValueError as error:
        raise damaged(path, kind, str(error)) from None


def read_json_record(path: Path, kind: RecordKind) -> Any:
    """The JSON value of a record, None when there is no file. IncoherentError for a damaged record; never waits."""
    text = read_text_record(path, kind)
    if text is None:
        return None
    try:
        value = parse_json(text)
    except ValueError as error:
        raise damaged(path, kind, str(error)) from None
    if value is None:
        raise damaged(path, kind, "it is empty")
    return value


def remove_record(path: Path) -> None:
    """Remove a record, if there is one. HostError when that fails."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise HostError(f"cannot remove {path}: {explain(error, path)}") from None


def record_names(folder: Path) -> List[str]:
    """Names of the files in a folder of records, sorted, without hidden ones; empty without the folder. HostError."""
    try:
        return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise HostError(f"cannot list {folder}: {explain(error, folder)}") from None


def damaged(path: Path, kind: RecordKind, reason: object) -> IncoherentError:
    """The error of a record that cannot be read or has an invalid shape."""
    return IncoherentError(f"{path}, {kind.title}, cannot be read ({reason}); {kind.remedy}")


def read_cache(path: Path) -> Dict[str, Any]:
    """The JSON object of a file whose content can be found out again; empty when it is missing or damaged."""
    try:
        value = read_json_record(path, RecordKind("a cache", ""))
    except RocksError:
        return {}
    return value if isinstance(value, dict) else {}


def read_start(path: Path, max_bytes: int) -> bytes:
    """The first bytes of a regular file. OSError, also for what is no file; a FIFO is not waited for."""
    with open_plain(path, os.O_NOFOLLOW) as file:
        return file.read(max_bytes)
